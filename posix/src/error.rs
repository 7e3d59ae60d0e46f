//! Why a recorder does not start.
//!
//! Owns the one error of starting, with its sentences. Returned by `RecorderBuilder::start` and `start_once`; once
//! started, a recorder mends what it can, and tells of what lasts on standard error (see `trouble`).

use crate::descriptor::{MORE_DESCRIPTORS, lacks_descriptors};
use crate::dir::{DirError, ELSEWHERE, write_with_causes};
use std::path::PathBuf;
use std::{fmt, io};

/// Why a recorder cannot start.
///
/// `Debug` prints the sentence and its causes, for a `main` that returns it.
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
    /// Every name that we may take has a file that is not ours to remove, or a pipe whose byte somebody holds.
    NamesTaken {
        /// The directory.
        path: PathBuf,
        /// The first of these names.
        first: String,
        /// The last of them.
        last: String,
    },
    /// A pipe that was made cannot be waited on: the program is another user since, has another root directory, or closed
    /// our descriptors. It is told of, and not returned by a start.
    Wait {
        /// The pipe.
        path: PathBuf,
        /// What the system answers.
        source: io::Error,
    },
    /// The system gives us no thread.
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
            Self::Pipe { path, source } if source.raw_os_error() == Some(libc::EACCES) => write!(
                f,
                "no pipe can be made in {0}: let its owner set it up for several users (`chmod 1777 {0}`), or \
                 {ELSEWHERE}",
                path.display()
            ),
            Self::Pipe { path, source } if lacks_descriptors(source) => {
                write!(f, "no pipe can be made in {}: {MORE_DESCRIPTORS}", path.display())
            }
            Self::Pipe { path, .. } => write!(
                f,
                "no pipe can be made in {}: see to what is missing (room, or a file system with pipes and locks), or \
                 {ELSEWHERE}",
                path.display()
            ),
            Self::NamesTaken { path, first, last } => write!(
                f,
                "every name from {first} to {last} in {} is taken: remove the files of that name whose process is \
                 gone, or {ELSEWHERE}",
                path.display()
            ),
            Self::Wait { path, source } if lacks_descriptors(source) => {
                write!(f, "no reader of {} can be waited for: {MORE_DESCRIPTORS}", path.display())
            }
            Self::Wait { path, .. } => write!(
                f,
                "no reader of {} can be waited for: start the recorder after the program has become another user, \
                 changed its root directory, or closed what it does not know",
                path.display()
            ),
            Self::System { .. } => {
                f.write_str("the system refuses a thread: raise the limits of this process")
            }
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_with_causes(self, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // Its sentence is ours, so its cause is ours too.
            Self::Directory { source } => source.source(),
            Self::Pipe { source, .. } | Self::Wait { source, .. } | Self::System { source } => Some(source),
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
                "/run/pipes is not a directory but a file or a link: remove it, or choose another \
                 directory (STATVENT_PIPE_DIR names the default one)",
            ),
            (
                Error::Pipe { path: path.clone(), source: io::Error::from_raw_os_error(libc::EACCES) },
                "no pipe can be made in /run/pipes: let its owner set it up for several users (`chmod 1777 \
                 /run/pipes`), or choose another directory (STATVENT_PIPE_DIR names the default one)",
            ),
            (
                Error::Pipe { path: path.clone(), source: io::Error::from_raw_os_error(libc::EPERM) },
                "no pipe can be made in /run/pipes: see to what is missing (room, or a file system with pipes \
                 and locks), or choose another directory (STATVENT_PIPE_DIR names the default one)",
            ),
            (
                Error::Pipe { path: path.clone(), source: io::Error::from_raw_os_error(libc::ENFILE) },
                "no pipe can be made in /run/pipes: no descriptor is left: raise the limit of open files (`ulimit -n`; \
                 fs.file-max for the whole system)",
            ),
            (
                Error::Wait {
                    path: path.join("7.stats"),
                    source: io::Error::from_raw_os_error(libc::EACCES),
                },
                "no reader of /run/pipes/7.stats can be waited for: start the recorder after the program has become \
                 another user, changed its root directory, or closed what it does not know",
            ),
            (
                Error::Wait {
                    path: path.join("7.stats"),
                    source: io::Error::from_raw_os_error(libc::EMFILE),
                },
                "no reader of /run/pipes/7.stats can be waited for: no descriptor is left: raise the limit of open \
                 files (`ulimit -n`; fs.file-max for the whole system)",
            ),
            (
                Error::NamesTaken { path, first: "a.7.stats".into(), last: "a.7-65535.stats".into() },
                "every name from a.7.stats to a.7-65535.stats in /run/pipes is taken: remove the files of that name \
                 whose process is gone, or choose another directory (STATVENT_PIPE_DIR names the default one)",
            ),
            (
                Error::System { source: io::ErrorKind::OutOfMemory.into() },
                "the system refuses a thread: raise the limits of this process",
            ),
        ];
        for (err, message) in cases {
            assert_eq!(err.to_string(), message);
        }
    }

    #[test]
    fn debug_shows_the_sentence_and_its_cause() {
        let source = io::Error::from_raw_os_error(libc::EAGAIN);
        assert_eq!(
            format!("{:?}", Error::System { source }),
            "the system refuses a thread: raise the limits of this process: Resource temporarily unavailable (os \
             error 11)"
        );
        // The directory's sentence is printed once, though it is in two errors.
        let path = PathBuf::from("/run/pipes");
        let source = DirError::Open { path, source: io::Error::from_raw_os_error(libc::EACCES) };
        assert_eq!(
            format!("{:?}", Error::Directory { source }),
            "pipe directory /run/pipes cannot be opened: make it readable, or choose another directory \
             (STATVENT_PIPE_DIR names the default one): Permission denied (os error 13)"
        );
    }
}
