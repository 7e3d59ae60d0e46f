//! What is remembered of one process from scrape to scrape.
//!
//! Owns how an answer, a timeout or a missing name changes that, and when the pipe of a dead process is removed. It must not
//! wait for anything (see `scrape`).

use std::ffi::OsStr;
use std::mem::take;
use std::sync::Arc;
use std::time::{Duration, Instant};

use statvent_posix::remove::remove_dead;

use super::candidates::Rank;
use super::directory::FilteredDir;
use super::error::{PipeError, ProbeError};
use super::liveness::{self, AbandonedSince, Liveness};
use super::pipe::{Pipe, Progress};
use super::quota::{Charge, Quota};
use super::snapshot::ProcessSnapshot;
use super::validation::is_complete;
use crate::limits::{SUSPECT_TIMEOUT, WRITER_CHECK_BYTES};

/// The result of one scrape for one process.
#[derive(Debug, Default)]
pub(super) enum Status {
    /// It answered.
    Ok,
    /// It answered before, and not now: its last values count.
    Stale,
    /// It never answered yet.
    #[default]
    Late,
    /// Its pipe cannot be read.
    Unreadable(PipeError),
    /// Its name is not a pipe.
    NotAPipe,
    /// It is dead, or its name does not exist any more: nothing of it counts.
    Gone,
}

/// One process, identified by the name of its pipe.
#[derive(Default)]
pub(super) struct Process {
    /// The last snapshot that was accepted.
    pub(super) last_snapshot: Option<ProcessSnapshot>,
    /// The pipe that is not read to its end yet.
    pub(super) open_pipe: Option<Box<Pipe>>,
    /// The result of the current scrape. The collector takes it at the end, so between two scrapes it is the default.
    pub(super) status: Status,
    /// It did not answer the last probe.
    is_silent: bool,
    /// Its lock byte was seen held at least once.
    had_lock_byte: bool,
    /// At the last probe, no process here had its pid.
    is_suspect: bool,
    /// It answered although it was suspect: its pid belongs to another pid namespace.
    has_foreign_pid: bool,
    /// The evidence that a suspect has neither process nor writer.
    abandoned: Option<AbandonedSince>,
    /// The last probe found it dead, or found no pipe under its name.
    is_gone: bool,
    /// Its name is in the newest listing of the directory.
    pub(super) is_listed: bool,
}

impl Process {
    /// Returns whether its name is missing, and it is not known to be gone.
    pub(super) const fn is_missing(&self) -> bool {
        !self.is_gone && !self.is_listed
    }

    /// Returns its rank for admission.
    pub(super) const fn rank(&self) -> Rank {
        if self.is_gone {
            Rank::Gone
        } else if self.last_snapshot.is_some() {
            Rank::Answered
        } else if self.had_lock_byte && !self.is_silent {
            Rank::LockByteHeld
        } else {
            Rank::Unknown
        }
    }

    /// Returns its place in the order of probes: processes that answer never wait for those that do not.
    pub(super) const fn priority(&self) -> (bool, Rank) {
        (self.is_silent, self.rank())
    }

    /// Returns the last snapshot if a new one must contain all its stats: a process with a lock byte publishes a
    /// registry of this library, whose stats keep their order and are never removed.
    pub(super) fn baseline(&self) -> Option<&ProcessSnapshot> {
        self.last_snapshot.as_ref().filter(|_| self.had_lock_byte)
    }

    /// Returns the charge for its next snapshot.
    pub(super) fn charge(&self, quota: &Arc<Quota>) -> Charge {
        Charge::new(quota, self.last_snapshot.as_ref().map_or(0, ProcessSnapshot::n_bytes))
    }

    /// Replaces the last snapshot.
    pub(super) fn replace_snapshot(&mut self, mut snapshot: ProcessSnapshot) {
        self.last_snapshot = None;
        snapshot.charge_beyond(0);
        self.last_snapshot = Some(snapshot);
    }

    /// Returns how long to wait for its first response; `None` if it is dead.
    pub(super) fn response_timeout(
        &mut self,
        dir: &FilteredDir,
        name: &OsStr,
        quota: &Arc<Quota>,
        deadline: Duration,
    ) -> Option<Duration> {
        let mut liveness = self.check(dir, name);
        if liveness == Liveness::Dead {
            if self.sweep(dir, name, quota) {
                return None;
            }
            liveness = self.check(dir, name);
        }
        self.is_suspect = liveness == Liveness::Suspect;
        Some(match liveness {
            _ if self.is_silent => Duration::ZERO,
            Liveness::Suspect if !self.has_foreign_pid => SUSPECT_TIMEOUT,
            Liveness::Dead => SUSPECT_TIMEOUT,
            _ => deadline,
        })
    }

    /// Applies the result of a probe.
    pub(super) fn apply_result(
        &mut self,
        dir: &FilteredDir,
        name: &OsStr,
        quota: &Arc<Quota>,
        result: Result<ProcessSnapshot, ProbeError>,
    ) -> Status {
        match result {
            Ok(snapshot) => {
                let has_foreign_pid = self.is_suspect;
                self.reset();
                self.has_foreign_pid = has_foreign_pid;
                self.replace_snapshot(snapshot);
                Status::Ok
            }
            Err(ProbeError::TimedOut | ProbeError::ResourceExhausted) => self.on_timeout(dir, name, quota),
            Err(ProbeError::NotFound) => match self.check(dir, name) {
                // A live recorder restores its name. Until then its last snapshot counts; without one there is nothing to
                // remember.
                Liveness::Alive if self.last_snapshot.is_some() => self.mark_silent(),
                _ => self.mark_gone(),
            },
            Err(ProbeError::NotAFifo) => {
                self.mark_gone();
                Status::NotAPipe
            }
            Err(ProbeError::Pipe(err)) => {
                self.reset();
                Status::Unreadable(err)
            }
        }
    }

    /// Continues to read the pipe of a silent process, without waiting.
    pub(super) fn resume_read(&mut self, chunk: &mut [u8]) {
        let Some(pipe) = &mut self.open_pipe else { return };
        match pipe.read(chunk) {
            Ok(Progress::Pending) => return,
            // It responds again. After an incomplete snapshot, the next scrape probes it without waiting.
            Ok(Progress::Complete(snapshot)) => {
                if is_complete(&snapshot, self.baseline()) {
                    self.is_silent = false;
                    self.replace_snapshot(snapshot);
                    if matches!(self.status, Status::Late) {
                        self.status = Status::Stale;
                    }
                }
            }
            Ok(Progress::Retired { .. }) => self.is_silent = false,
            // The next scrape opens the name again and meets the error itself.
            Err(_) => {}
        }
        self.open_pipe = None;
    }

    fn check(&mut self, dir: &FilteredDir, name: &OsStr) -> Liveness {
        liveness::check(&dir.pipe_dir, name, &mut self.had_lock_byte)
    }

    /// Handles a probe without an answer: the process is silent, unless it is dead.
    fn on_timeout(&mut self, dir: &FilteredDir, name: &OsStr, quota: &Arc<Quota>) -> Status {
        match self.check(dir, name) {
            Liveness::Dead if self.sweep(dir, name, quota) => Status::Gone,
            Liveness::Suspect => self.on_suspect(dir, name, Instant::now()),
            Liveness::Alive | Liveness::Unknown | Liveness::Dead => {
                self.abandoned = None;
                self.mark_silent()
            }
        }
    }

    fn on_suspect(&mut self, dir: &FilteredDir, name: &OsStr, now: Instant) -> Status {
        if self.open_pipe.as_ref().is_some_and(|pipe| pipe.has_writer()) {
            self.abandoned = None;
        }
        // A process that is probably dead keeps no descriptor here.
        if let Some(unused) = self.open_pipe.take_if(|pipe| pipe.is_unused()) {
            let abandoned = AbandonedSince::extend(self.abandoned, unused.id(), now);
            self.abandoned = Some(abandoned);
            if abandoned.is_confirmed(now) && remove_dead(&dir.pipe_dir, name, &*unused).unwrap_or(false) {
                return self.mark_gone();
            }
        }
        self.mark_silent()
    }

    const fn mark_silent(&mut self) -> Status {
        self.is_silent = true;
        if self.last_snapshot.is_some() { Status::Stale } else { Status::Late }
    }

    fn mark_gone(&mut self) -> Status {
        self.reset();
        self.is_gone = true;
        Status::Gone
    }

    /// Resets everything but `had_lock_byte`, which identifies a recorder of this library for as long as the name exists.
    fn reset(&mut self) {
        *self = Self { had_lock_byte: self.had_lock_byte, ..Self::default() };
    }

    /// Removes the pipe of a process whose lock byte was seen held and is free. Returns `false` if that does not prove that
    /// this very pipe is dead; then the pipe stays, and is probed.
    fn sweep(&mut self, dir: &FilteredDir, name: &OsStr, quota: &Arc<Quota>) -> bool {
        // A recorder retires its pipe before it writes to it. Data in a retired pipe was written before the recorder died.
        let named = take(&mut self.open_pipe).filter(|pipe| !pipe.is_retired().unwrap_or(false));
        let mut pipe = match named.map_or_else(|| Pipe::open(dir, name, self.charge(quota)), Ok) {
            Ok(pipe) => pipe,
            Err(ProbeError::ResourceExhausted) => return false,
            Err(_) => {
                self.mark_gone();
                return true;
            }
        };
        let progress = pipe.read(&mut [0; WRITER_CHECK_BYTES]);
        // A recorder locks its byte before it creates its pipe. If the lock byte is still free now that the pipe is open, no live
        // recorder created this pipe.
        if self.check(dir, name) != Liveness::Dead {
            self.open_pipe = Some(pipe);
            return false;
        }
        // Even if the pipe stays, the process that wrote the last snapshot is dead.
        self.last_snapshot = None;
        match progress {
            // A pipe that cannot be removed stays and costs little: the process is known to be dead. If the name refers to
            // another pipe by now, that belongs to another process.
            Ok(Progress::Pending) if pipe.is_unused() => {
                if matches!(remove_dead(&dir.pipe_dir, name, &*pipe), Ok(false)) {
                    return false;
                }
            }
            // A process without a lock byte writes under that name by now, or another reader has locked the pipe.
            Ok(Progress::Pending) => {
                self.had_lock_byte = !pipe.has_writer();
                self.open_pipe = Some(pipe);
                return false;
            }
            Ok(Progress::Complete(_)) => {
                self.had_lock_byte = false;
                return false;
            }
            Ok(Progress::Retired { .. }) => return false,
            Err(_) => {}
        }
        self.mark_gone();
        true
    }
}

#[cfg(test)]
mod tests;
