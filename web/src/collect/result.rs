//! The result of one scrape.
//!
//! Owns the counts of an answer and how the status of a process is counted. It must not read pipes or change a process.

use std::ffi::OsStr;

use serde::Serialize;

use super::process::Status;
use super::snapshot::ProcessSnapshot;
use super::warning::Warning;

/// The result of one scrape.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Collection<'a> {
    /// The pipe name and the snapshot of each process that is `ok` or `stale`, sorted by name.
    pub snapshots: Vec<(&'a OsStr, &'a ProcessSnapshot)>,
    /// How many processes have which status.
    pub counts: Counts,
    /// One warning for each process that is unreadable, truncated or malformed, or that began an answer and did not finish
    /// it; one for all pipes above [`MAX_PIPES`](crate::limits::MAX_PIPES) together.
    pub warnings: Vec<Warning>,
}

/// How many processes have which status.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Counts {
    /// Answered in this scrape.
    pub ok: usize,
    /// Answered before, but not in time now; their last values count.
    pub stale: usize,
    /// Never answered yet.
    pub late: usize,
    /// Pipes that cannot be read, whose snapshot is too large, or that are above the limit.
    pub unreadable: usize,
    /// Names in the directory that are not those of pipes, and pipes of users who are not allowed.
    pub ignored: usize,
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
