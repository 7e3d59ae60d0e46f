//! Why a recorder does not start.
//!
//! Owns the one error of starting, with its sentences. Returned by `RecorderBuilder::start` and `start_once`; once
//! started, a recorder mends what it can and reports nothing.

use crate::dir::{DirError, PATH_VARIABLE};
use std::path::PathBuf;
use std::{fmt, io};

/// Why a recorder cannot start.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The label is not 1 to 64 ASCII letters, digits, `_` and `-`.
    Label {
        /// The label that was given.
        found: String,
    },
    /// The pipe directory cannot be used.
    Directory {
        /// What is wrong with it.
        source: DirError,
    },
    /// No pipe can be made in the directory.
    Pipe {
        /// The directory.
        path: PathBuf,
        /// What the system answers.
        source: io::Error,
    },
    /// Every name for this pid is held by a live recorder or by a file that is not ours.
    NamesTaken {
        /// The directory.
        path: PathBuf,
        /// Our process id.
        pid: u32,
    },
    /// The system gives us no thread or no descriptor.
    System {
        /// What the system answers.
        source: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label { found } => {
                write!(
                    f,
                    "label {found:?} is not 1 to 64 ASCII letters, digits, `_` and `-`: choose another one"
                )
            }
            Self::Directory { source } => source.fmt(f),
            Self::Pipe { path, .. } => write!(
                f,
                "no pipe can be made in {0}: let its owner set it up for several users (`chmod 1777 {0}`), or set \
                 {PATH_VARIABLE} to another directory",
                path.display()
            ),
            Self::NamesTaken { path, pid } => write!(
                f,
                "every name from {pid}.stats to {pid}-{}.stats in {} is taken: remove what is dead there",
                u16::MAX,
                path.display()
            ),
            Self::System { .. } => {
                f.write_str("the system refuses a thread or a descriptor: raise the limits of this process")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // Its sentence is ours, so its cause is ours too.
            Self::Directory { source } => source.source(),
            Self::Pipe { source, .. } | Self::System { source } => Some(source),
            _ => None,
        }
    }
}

impl From<DirError> for Error {
    fn from(source: DirError) -> Self {
        Self::Directory { source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_was_found_and_what_to_do() {
        let path = PathBuf::from("/run/pipes");
        let cases = [
            (
                Error::Label { found: "a b".into() },
                "label \"a b\" is not 1 to 64 ASCII letters, digits, `_` and `-`: choose another one",
            ),
            (
                Error::Directory { source: DirError::NotDirectory { path: path.clone() } },
                "/run/pipes is not a directory but a file or a link: remove it, or set STATVENT_PIPE_DIR to a \
                 directory",
            ),
            (
                Error::Pipe { path: path.clone(), source: io::ErrorKind::PermissionDenied.into() },
                "no pipe can be made in /run/pipes: let its owner set it up for several users (`chmod 1777 \
                 /run/pipes`), or set STATVENT_PIPE_DIR to another directory",
            ),
            (
                Error::NamesTaken { path, pid: 7 },
                "every name from 7.stats to 7-65535.stats in /run/pipes is taken: remove what is dead there",
            ),
            (
                Error::System { source: io::ErrorKind::OutOfMemory.into() },
                "the system refuses a thread or a descriptor: raise the limits of this process",
            ),
        ];
        for (err, message) in cases {
            assert_eq!(err.to_string(), message);
        }
    }
}
