//! What one collection brought, or why there is none.
//!
//! Owns the counts of an answer and the error. It asks nobody. Made by the collector; read by `serve` and `encode`.

use std::{fmt, io};

use statvent_posix::dir::DirError;

use super::process::Standing;
use super::reading::Reading;
use super::trouble::Trouble;

/// What one collection brought.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Collection<'a> {
    /// A reading for each process that is `ok` or `stale`, in the order of the pipes' names.
    pub readings: Vec<&'a Reading>,
    /// How the processes stand.
    pub counts: Counts,
    /// The processes counted as unreadable, those above [`MAX_PIPES`](super::MAX_PIPES) as one, those that write malformed lines, and
    /// those that began to answer and did not finish.
    pub troubles: Vec<Trouble>,
}

/// How many processes stand how.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
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
    Shortage(io::Error),
}

impl fmt::Display for CollectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(err) => err.fmt(f),
            Self::Shortage(_) => f.write_str(
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
            Self::Shortage(err) => Some(err),
        }
    }
}

impl Counts {
    pub(super) fn of(standings: &[Standing]) -> Self {
        let mut counts = Self::default();
        for standing in standings {
            match standing {
                Standing::Ok => counts.ok += 1,
                Standing::Stale => counts.stale += 1,
                Standing::Late => counts.late += 1,
                Standing::Unreadable(_) => counts.unreadable += 1,
                Standing::Foreign => counts.ignored += 1,
                Standing::Gone => {}
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_no_fault_of_the_directory() {
        assert_eq!(
            CollectError::Shortage(io::ErrorKind::OutOfMemory.into()).to_string(),
            "the system gives the service no descriptor or no memory: raise its limits (`ulimit -n`), or those of the \
             system"
        );
    }
}
