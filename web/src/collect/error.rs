//! Errors of a scrape: of the directory, of one pipe, of one snapshot.
//!
//! Owns the sentences that users read about them. What is wrong with one process in an otherwise successful scrape is a
//! `warning`. It must not print.

use std::io::{self, ErrorKind};

use statvent_posix::dir::DirError;

use crate::limits::{MAX_BYTES_PER_PROCESS, MAX_STATS_PER_PROCESS};

/// Why a scrape failed as a whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CollectError {
    /// The pipe directory cannot be used.
    #[error(transparent)]
    Directory(DirError),
    /// The system has no file descriptor or no memory left to open the directory.
    #[error(
        "the service is out of file descriptors or memory: raise its limits (`ulimit -n`), or those of the system"
    )]
    ResourceExhausted(#[source] io::Error),
}

/// Why no stats of a process count: its pipe could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipeError {
    /// The system refuses to open, lock or read the pipe.
    #[error("{}", system_advice(.0.kind()))]
    System(#[from] io::Error),
    /// The process writes more than one process may.
    #[error("the snapshot is too large and none of its stats count")]
    TooLarge(#[source] SnapshotError),
}

const fn system_advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::PermissionDenied => {
            "the pipe cannot be read: let its owner make it readable for this service's user"
        }
        _ => "the pipe cannot be opened, locked or read: look up the system's error",
    }
}

/// Which limit on the snapshot of one process was exceeded.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// More than [`MAX_BYTES_PER_PROCESS`].
    #[error("the process wrote more than {MAX_BYTES_PER_PROCESS} bytes: expected its stats and an end")]
    TooManyBytes,
    /// More than [`MAX_STATS_PER_PROCESS`].
    #[error("the process wrote more than {MAX_STATS_PER_PROCESS} stats: publish fewer")]
    TooManyStats,
}

/// Why a probe has no snapshot. Decides what happens to the process; users do not see it.
#[derive(Debug)]
pub(super) enum ProbeError {
    /// The name does not exist.
    NotFound,
    /// The name is not a pipe, or a pipe of an owner that is not allowed.
    NotAFifo,
    /// The pipe cannot be opened or read.
    Pipe(PipeError),
    /// The system is out of descriptors or memory at the moment.
    ResourceExhausted,
    /// The process did not answer in time.
    TimedOut,
}

impl From<io::Error> for ProbeError {
    fn from(err: io::Error) -> Self {
        match err.raw_os_error().map(nix::Error::from_raw) {
            Some(nix::Error::ENOENT) => Self::NotFound,
            // `ELOOP`: a symbolic link. `ENXIO`: a socket.
            Some(nix::Error::ELOOP | nix::Error::ENXIO) => Self::NotAFifo,
            _ if is_resource_exhaustion(&err) => Self::ResourceExhausted,
            _ => Self::Pipe(err.into()),
        }
    }
}

/// Returns whether a later attempt may succeed: the system lacks a resource that other programs may free at any time, or a
/// signal interrupted the call.
pub(super) fn is_resource_exhaustion(err: &io::Error) -> bool {
    use nix::errno::Errno::{EINTR, EMFILE, ENFILE, ENOLCK, ENOMEM, ENOSPC};
    // `epoll(7)` returns `ENOSPC` above `fs.epoll.max_user_watches`.
    let code = err.raw_os_error().map(nix::Error::from_raw);
    matches!(code, Some(EINTR | EMFILE | ENFILE | ENOLCK | ENOMEM | ENOSPC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exhausted_resources_are_no_fault_of_the_directory() {
        assert_eq!(
            CollectError::ResourceExhausted(ErrorKind::OutOfMemory.into()).to_string(),
            "the service is out of file descriptors or memory: raise its limits (`ulimit -n`), or those of the system"
        );
    }

    #[test]
    fn messages_of_a_pipe_name_the_failure_and_the_remedy() {
        let cases = [
            (
                PipeError::System(ErrorKind::PermissionDenied.into()),
                "the pipe cannot be read: let its owner make it readable for this service's user",
            ),
            (
                PipeError::System(ErrorKind::OutOfMemory.into()),
                "the pipe cannot be opened, locked or read: look up the system's error",
            ),
            (
                PipeError::TooLarge(SnapshotError::TooManyBytes),
                "the snapshot is too large and none of its stats count",
            ),
        ];
        for (err, message) in cases {
            assert_eq!(err.to_string(), message);
        }
    }

    #[test]
    fn messages_of_a_snapshot_name_the_limit() {
        assert_eq!(
            SnapshotError::TooManyBytes.to_string(),
            "the process wrote more than 4194304 bytes: expected its stats and an end"
        );
        assert_eq!(
            SnapshotError::TooManyStats.to_string(),
            "the process wrote more than 65536 stats: publish fewer"
        );
    }
}
