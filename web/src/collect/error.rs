//! What one collection brought, or why there is none.
//!
//! Owns the counts of an answer and the error. It asks nobody. Made by the collector; read by `serve` and `encode`.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::{fmt, io};

use serde::Serialize;
use statvent_posix::dir::DirError;

use super::process::Status;
use super::snapshot::{ProcessSnapshot, SnapshotError};
use super::warning::Warning;

/// What one collection brought.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Collection<'a> {
    /// The name of the pipe and what it said, for each process that is `ok` or `stale`, in the order of the names.
    pub snapshots: Vec<(&'a OsStr, &'a ProcessSnapshot)>,
    /// How the processes stand.
    pub counts: Counts,
    /// The processes counted as unreadable, those above [`MAX_PIPES`](super::MAX_PIPES) as one, those that say more than
    /// there is room for, those that write malformed lines, and those that began to answer and did not finish.
    pub warnings: Vec<Warning>,
}

/// How many processes stand how.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Counts {
    /// Answered in this collection.
    pub ok: usize,
    /// Did not answer in time; their last values count.
    pub stale: usize,
    /// Did not answer in time and never did before.
    pub late: usize,
    /// Pipes that we may not read, that say more than a process may, or that are too many.
    pub unreadable: usize,
    /// Names in the directory that are not those of pipes, and pipes of users who are not allowed.
    pub ignored: usize,
}

/// Why there is no collection.
#[derive(Debug)]
#[non_exhaustive]
pub enum CollectError {
    /// The pipe directory cannot be used.
    Directory(DirError),
    /// The system has no descriptor or no memory to look into it.
    ResourceExhausted(io::Error),
}

impl fmt::Display for CollectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(err) => err.fmt(f),
            Self::ResourceExhausted(_) => f.write_str(
                "the system gives the service no descriptor or no memory: raise its limits (`ulimit -n`), or those of the \
                 system",
            ),
        }
    }
}

impl core::error::Error for CollectError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Directory(err) => err.source(),
            Self::ResourceExhausted(err) => Some(err),
        }
    }
}

/// Why a pipe could not be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum PipeError {
    /// The system refuses to open, lock or read it.
    System(io::Error),
    /// Its process says more than one may.
    TooLarge(SnapshotError),
}

impl fmt::Display for PipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System(err) if err.kind() == ErrorKind::PermissionDenied => {
                "the pipe cannot be read: let its owner make it readable for this service's user"
            }
            Self::System(_) => "the pipe cannot be opened, locked or read: see what the system answers",
            Self::TooLarge(_) => "the pipe was left unread: its process says too much",
        })
    }
}

impl core::error::Error for PipeError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::System(err) => Some(err),
            Self::TooLarge(err) => Some(err),
        }
    }
}

impl From<io::Error> for PipeError {
    fn from(err: io::Error) -> Self {
        Self::System(err)
    }
}

/// Whether the system lacks something that others may give back at any time.
pub(super) fn is_resource_exhaustion(err: &io::Error) -> bool {
    use nix::errno::Errno::{EINTR, EMFILE, ENFILE, ENOLCK, ENOMEM, ENOSPC};
    // `ENOSPC` is `epoll(7)`'s word for `fs.epoll.max_user_watches`.
    let code = err.raw_os_error().map(nix::Error::from_raw);
    matches!(code, Some(EINTR | EMFILE | ENFILE | ENOLCK | ENOMEM | ENOSPC))
}

impl Counts {
    pub(super) fn add(&mut self, status: &Status) {
        match status {
            Status::Ok => self.ok += 1,
            Status::Stale => self.stale += 1,
            Status::Late => self.late += 1,
            Status::Unreadable(_) => self.unreadable += 1,
            Status::NotAPipe => self.ignored += 1,
            Status::Gone => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_no_fault_of_the_directory() {
        assert_eq!(
            CollectError::ResourceExhausted(io::ErrorKind::OutOfMemory.into()).to_string(),
            "the system gives the service no descriptor or no memory: raise its limits (`ulimit -n`), or those of the \
             system"
        );
    }

    #[test]
    fn messages_of_a_pipe_say_what_was_found_and_what_to_do() {
        let cases = [
            (
                PipeError::System(ErrorKind::PermissionDenied.into()),
                "the pipe cannot be read: let its owner make it readable for this service's user",
            ),
            (
                PipeError::System(ErrorKind::OutOfMemory.into()),
                "the pipe cannot be opened, locked or read: see what the system answers",
            ),
            (
                PipeError::TooLarge(SnapshotError::TooManyBytes),
                "the pipe was left unread: its process says too much",
            ),
        ];
        for (err, message) in cases {
            assert_eq!(err.to_string(), message);
        }
    }
}
