//! Errors of recorders and of the pipe directory, with advice for each.
//!
//! Owns every sentence that a user may read, on standard error too. It detects no error itself.

use crate::sys::fd::is_fd_exhaustion;
use std::path::PathBuf;
use std::{fmt, io};

/// Advice for a directory that cannot be used. Setting the variable is not enough: a directory given in the program takes
/// precedence.
const OTHER_DIRECTORY: &str = "choose another directory (STATVENT_PIPE_DIR names the default one)";

/// Advice for the case that no descriptor is free.
const RAISE_FD_LIMIT: &str =
    "no descriptor is left: raise the limit of open files (`ulimit -n`; fs.file-max for the whole system)";

/// The error of starting a recorder.
///
/// Once started, a recorder repairs what it can, and logs an outage that lasts on standard error. `Debug` prints the sentence
/// and its causes, for a `main` that returns it.
#[non_exhaustive]
pub enum Error {
    /// The label is not 1 to 64 ASCII letters, digits, `_` and `-`.
    Label {
        /// The label that was given.
        found: String,
    },
    /// The pipe directory cannot be used.
    Directory {
        /// The reason.
        source: DirError,
    },
    /// No pipe can be created in the directory.
    Pipe {
        /// The directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// Each name that we may use belongs to a file that we must not remove, or to a pipe whose lock byte is held.
    NamesTaken {
        /// The directory.
        path: PathBuf,
        /// The first of these names.
        first: String,
        /// The last of these names.
        last: String,
    },
    /// The recorder cannot wait for readers of its pipe: since it was created, the program changed its user or its root
    /// directory, or closed our descriptors. A start never returns this; it is only logged.
    Wait {
        /// The pipe.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The system refuses to create a thread.
    System {
        /// The error of the system.
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
                "cannot create a pipe in {0}: let its owner set it up for several users (`chmod 1777 {0}`), or \
                 {OTHER_DIRECTORY}",
                path.display()
            ),
            Self::Pipe { path, source } if is_fd_exhaustion(source) => {
                write!(f, "cannot create a pipe in {}: {RAISE_FD_LIMIT}", path.display())
            }
            Self::Pipe { path, .. } => write!(
                f,
                "cannot create a pipe in {}: make room, use a file system that supports pipes and locks, or \
                 {OTHER_DIRECTORY}",
                path.display()
            ),
            Self::NamesTaken { path, first, last } => write!(
                f,
                "every name from {first} to {last} in {} is taken: remove the pipes whose process has ended, or \
                 {OTHER_DIRECTORY}",
                path.display()
            ),
            Self::Wait { path, source } if is_fd_exhaustion(source) => {
                write!(f, "cannot wait for readers of {}: {RAISE_FD_LIMIT}", path.display())
            }
            Self::Wait { path, .. } => write!(
                f,
                "cannot wait for readers of {}: start the recorder after the program has changed its user or root \
                 directory, or closed descriptors that it does not know",
                path.display()
            ),
            Self::System { .. } => f.write_str("cannot start a thread: raise the limits of this process"),
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
            // `Display` prints the directory's sentence, so the next cause is that sentence's.
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

/// The error of opening, creating or listing a pipe directory.
///
/// `Debug` prints the sentence and its causes, for a `main` that returns it.
#[non_exhaustive]
pub enum DirError {
    /// The system refuses to open or list it.
    Open {
        /// The directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The system refuses to create it.
    Create {
        /// The directory, or the parent that could not be created.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The path is a file or a symbolic link; links are not followed.
    NotDirectory {
        /// The path.
        path: PathBuf,
    },
    /// It belongs to another user, who could replace our pipes.
    ForeignOwner {
        /// The directory.
        path: PathBuf,
        /// The user id of its owner.
        owner: u32,
        /// The user id of this process.
        expected: u32,
    },
    /// Other users may replace the pipes in it.
    WritableByOthers {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl fmt::Display for DirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { path, source } if is_fd_exhaustion(source) => {
                write!(f, "pipe directory {} cannot be opened: {RAISE_FD_LIMIT}", path.display())
            }
            Self::Open { path, .. } => write!(
                f,
                "pipe directory {} cannot be opened: make it readable, or {OTHER_DIRECTORY}",
                path.display()
            ),
            Self::Create { path, .. } => write!(
                f,
                "pipe directory {} cannot be created: create it, or {OTHER_DIRECTORY}",
                path.display()
            ),
            Self::NotDirectory { path } => write!(
                f,
                "{} is not a directory but a file or a link: move it away, or {OTHER_DIRECTORY}",
                path.display()
            ),
            Self::ForeignOwner { path, owner, expected } => write!(
                f,
                "pipe directory {0} belongs to user {owner}, expected {expected} (this process) or 0 (root): for \
                 several users let root own it (`chown root {0} && chmod 1777 {0}`), or {OTHER_DIRECTORY}",
                path.display()
            ),
            Self::WritableByOthers { path, mode } => write!(
                f,
                "pipe directory {0} has mode {mode:04o}, in which others may replace pipes: `chmod 755 {0}` if \
                 only its owner publishes there, `chmod 1777 {0}` if several users do",
                path.display()
            ),
        }
    }
}

impl fmt::Debug for DirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_with_causes(self, f)
    }
}

impl std::error::Error for DirError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Open { source, .. } | Self::Create { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Returns the log line of an outage: the recorder keeps trying after `err`. `Debug` prints its sentence and its causes.
pub(crate) fn outage_line(err: &Error) -> String {
    format!("cannot publish stats, retrying: {err:?}")
}

/// Writes the sentence of an error, then each cause after a colon.
fn write_with_causes(err: &dyn std::error::Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{err}")?;
    err.source().map_or(Ok(()), |cause| {
        f.write_str(": ")?;
        write_with_causes(cause, f)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_state_what_was_found_and_what_to_do() {
        let path = PathBuf::from("/run/pipes");
        let cases = [
            (
                Error::Label { found: "a b".into() },
                "label \"a b\" is not 1 to 64 ASCII letters, digits, `_` and `-`: choose another one",
            ),
            (
                Error::Directory { source: DirError::NotDirectory { path: path.clone() } },
                "/run/pipes is not a directory but a file or a link: move it away, or choose another \
                 directory (STATVENT_PIPE_DIR names the default one)",
            ),
            (
                Error::Pipe { path: path.clone(), source: io::Error::from_raw_os_error(libc::EACCES) },
                "cannot create a pipe in /run/pipes: let its owner set it up for several users (`chmod 1777 \
                 /run/pipes`), or choose another directory (STATVENT_PIPE_DIR names the default one)",
            ),
            (
                Error::Pipe { path: path.clone(), source: io::Error::from_raw_os_error(libc::EPERM) },
                "cannot create a pipe in /run/pipes: make room, use a file system that supports pipes and locks, or \
                 choose another directory (STATVENT_PIPE_DIR names the default one)",
            ),
            (
                Error::Pipe { path: path.clone(), source: io::Error::from_raw_os_error(libc::ENFILE) },
                "cannot create a pipe in /run/pipes: no descriptor is left: raise the limit of open files (`ulimit -n`; \
                 fs.file-max for the whole system)",
            ),
            (
                Error::Wait {
                    path: path.join("7.stats"),
                    source: io::Error::from_raw_os_error(libc::EACCES),
                },
                "cannot wait for readers of /run/pipes/7.stats: start the recorder after the program has changed its user \
                 or root directory, or closed descriptors that it does not know",
            ),
            (
                Error::Wait {
                    path: path.join("7.stats"),
                    source: io::Error::from_raw_os_error(libc::EMFILE),
                },
                "cannot wait for readers of /run/pipes/7.stats: no descriptor is left: raise the limit of open \
                 files (`ulimit -n`; fs.file-max for the whole system)",
            ),
            (
                Error::NamesTaken { path, first: "a.7.stats".into(), last: "a.7-65535.stats".into() },
                "every name from a.7.stats to a.7-65535.stats in /run/pipes is taken: remove the pipes whose process \
                 has ended, or choose another directory (STATVENT_PIPE_DIR names the default one)",
            ),
            (
                Error::System { source: io::ErrorKind::OutOfMemory.into() },
                "cannot start a thread: raise the limits of this process",
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
            "cannot start a thread: raise the limits of this process: Resource temporarily unavailable (os \
             error 11)"
        );
        // Both errors display the directory's sentence, but it is printed once.
        let path = PathBuf::from("/run/pipes");
        let source = DirError::Open { path, source: io::Error::from_raw_os_error(libc::EACCES) };
        assert_eq!(
            format!("{:?}", Error::Directory { source }),
            "pipe directory /run/pipes cannot be opened: make it readable, or choose another directory \
             (STATVENT_PIPE_DIR names the default one): Permission denied (os error 13)"
        );
    }
}
