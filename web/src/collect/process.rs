//! What is remembered of one process from collection to collection.
//!
//! Owns how an answer, a silence or a missing name changes that, and whether a dead process' pipe is removed. It
//! waits for nothing (see `probe`).

use std::ffi::OsStr;
use std::mem::take;
use std::sync::Arc;
use std::time::{Duration, Instant};

use statvent_posix::sweep::remove_dead;

use super::candidates::Rank;
use super::directory::FilteredDir;
use super::error::PipeError;
use super::liveness::{self, AbandonedSince, Liveness};
use super::pipe::{Pipe, ProbeError, Progress};
use super::quota::{Charge, Quota};
use super::scrape::Scrape;
use super::snapshot::ProcessSnapshot;
use super::validation::is_complete;

/// How long a process is waited for that is dead as far as can be seen.
const SUSPECT_TIMEOUT: Duration = Duration::from_millis(3);

/// Enough to see whether there is a writer.
const PROBE_BYTES: usize = 4096;

/// What became of a process in a collection.
#[derive(Debug, Default)]
pub(super) enum Status {
    /// It answered.
    Ok,
    /// It did not, and its last values count.
    Stale,
    /// It did not, and never did before.
    #[default]
    Late,
    /// Its pipe cannot be read.
    Unreadable(PipeError),
    /// Its name leads to something else than a pipe.
    NotAPipe,
    /// It is gone, and nothing of it counts.
    Gone,
}

/// One process, known by the name of its pipe.
#[derive(Default)]
pub(super) struct Process {
    /// What it said last.
    pub(super) last: Option<ProcessSnapshot>,
    /// The pipe that is still read.
    pub(super) open: Option<Box<Pipe>>,
    /// What became of it in the last collection.
    pub(super) status: Status,
    /// It did not answer when it was asked last.
    is_late: bool,
    /// Its byte was held once.
    was_locked: bool,
    /// No process here had its pid when it was asked last.
    is_suspect: bool,
    /// It answered all the same: its pid is one of another pid namespace.
    has_foreign_pid: bool,
    doubt: Option<AbandonedSince>,
    is_gone: bool,
    /// Its name is in the newest listing of the directory.
    pub(super) is_listed: bool,
}

impl Process {
    /// Whether it is not known to be gone, though its name is.
    pub(super) const fn is_missing(&self) -> bool {
        !self.is_gone && !self.is_listed
    }

    /// Says whether it keeps its place before others.
    pub(super) const fn rank(&self) -> Rank {
        if self.is_gone {
            Rank::Gone
        } else if self.last.is_some() {
            Rank::Answered
        } else if self.was_locked && !self.is_late {
            Rank::Locked
        } else {
            Rank::Unknown
        }
    }

    /// The order in which processes are asked: those that answer never wait for those that do not.
    pub(super) const fn priority(&self) -> (bool, Rank) {
        (self.is_late, self.rank())
    }

    /// What it said last, if what it says now must hold all of that: it has a registry of ours, whose stats only grow in
    /// number and keep their order.
    pub(super) fn baseline(&self) -> Option<&ProcessSnapshot> {
        self.last.as_ref().filter(|_| self.was_locked)
    }

    /// What a new snapshot of it is charged.
    pub(super) fn charge(&self, quota: &Arc<Quota>) -> Charge {
        Charge::new(quota, self.last.as_ref().map_or(0, ProcessSnapshot::n_bytes))
    }

    /// Puts a snapshot in the place of the last one.
    pub(super) fn replace_snapshot(&mut self, mut snapshot: ProcessSnapshot) {
        self.last = None;
        snapshot.recharge(0);
        self.last = Some(snapshot);
    }

    /// Returns how long to wait for its answer; `None` if it is dead.
    pub(super) fn response_timeout(&mut self, scrape: &Scrape<'_>, name: &OsStr) -> Option<Duration> {
        let mut life = self.check(scrape.source, name);
        if life == Liveness::Dead {
            if self.reap(scrape, name) {
                return None;
            }
            life = self.check(scrape.source, name);
        }
        self.is_suspect = life == Liveness::Suspect;
        Some(match life {
            _ if self.is_late => Duration::ZERO,
            Liveness::Suspect if !self.has_foreign_pid => SUSPECT_TIMEOUT,
            Liveness::Dead => SUSPECT_TIMEOUT,
            _ => scrape.deadline,
        })
    }

    /// Takes what came of asking it.
    pub(super) fn conclude(
        &mut self,
        scrape: &Scrape<'_>,
        name: &OsStr,
        result: Result<ProcessSnapshot, ProbeError>,
    ) -> Status {
        match result {
            Ok(snapshot) => {
                let has_foreign_pid = self.is_suspect;
                self.forget();
                self.has_foreign_pid = has_foreign_pid;
                self.replace_snapshot(snapshot);
                Status::Ok
            }
            Err(ProbeError::TimedOut | ProbeError::ResourceExhausted) => self.on_timeout(scrape, name),
            Err(ProbeError::NotFound) => match self.check(scrape.source, name) {
                // The name of a live recorder comes back: it looks after it. Until then what it said counts, and if it
                // never said anything there is nothing to remember.
                Liveness::Alive if self.last.is_some() => self.mark_late(),
                _ => self.mark_gone(),
            },
            Err(ProbeError::NotAFifo) => {
                self.mark_gone();
                Status::NotAPipe
            }
            Err(ProbeError::Pipe(err)) => {
                self.forget();
                Status::Unreadable(err)
            }
        }
    }

    /// Reads its open pipe, on which it was late.
    pub(super) fn resume_read(&mut self, chunk: &mut [u8]) {
        let Some(pipe) = &mut self.open else { return };
        match pipe.read(chunk) {
            Ok(Progress::Pending) => return,
            // It has woken up. What is not complete is asked for again: by the next collection, without waiting.
            Ok(Progress::Complete(snapshot)) => {
                if is_complete(&snapshot, self.baseline()) {
                    self.is_late = false;
                    self.replace_snapshot(snapshot);
                    if matches!(self.status, Status::Late) {
                        self.status = Status::Stale;
                    }
                }
            }
            Ok(Progress::Retired { .. }) => self.is_late = false,
            // The next collection opens the name again and sees for itself.
            Err(_) => {}
        }
        self.open = None;
    }

    fn check(&mut self, source: &FilteredDir, name: &OsStr) -> Liveness {
        liveness::check(&source.dir, name, &mut self.was_locked)
    }

    /// It was asked and did not answer: late, unless it died meanwhile or long ago.
    fn on_timeout(&mut self, scrape: &Scrape<'_>, name: &OsStr) -> Status {
        match self.check(scrape.source, name) {
            Liveness::Dead if self.reap(scrape, name) => Status::Gone,
            Liveness::Suspect => self.on_suspect(scrape.source, name, Instant::now()),
            Liveness::Alive | Liveness::Unknown | Liveness::Dead => {
                self.doubt = None;
                self.mark_late()
            }
        }
    }

    fn on_suspect(&mut self, source: &FilteredDir, name: &OsStr, now: Instant) -> Status {
        if self.open.as_ref().is_some_and(|open| open.has_writer()) {
            self.doubt = None;
        }
        // What is dead as far as can be seen keeps no descriptor.
        if let Some(quiet) = self.open.take_if(|open| open.has_no_writer()) {
            let doubt = AbandonedSince::extend(self.doubt, quiet.id(), now);
            self.doubt = Some(doubt);
            if doubt.is_confirmed(now) && remove_dead(&source.dir, name, &*quiet).unwrap_or(false) {
                return self.mark_gone();
            }
        }
        self.mark_late()
    }

    const fn mark_late(&mut self) -> Status {
        self.is_late = true;
        if self.last.is_some() { Status::Stale } else { Status::Late }
    }

    fn mark_gone(&mut self) -> Status {
        self.forget();
        self.is_gone = true;
        Status::Gone
    }

    /// Forgets all but that its byte was held, which says who it is for as long as the name is there.
    fn forget(&mut self) {
        *self = Self { was_locked: self.was_locked, ..Self::default() };
    }

    /// Removes the pipe of a process whose byte was held and is free; `false` where that is not proved of this very
    /// pipe, which stays and is asked.
    fn reap(&mut self, scrape: &Scrape<'_>, name: &OsStr) -> bool {
        let source = scrape.source;
        // A recorder retires its pipe before it writes to it: what is left in that one was written before it died.
        let named = take(&mut self.open).filter(|open| !open.is_retired().unwrap_or(false));
        let mut pipe = match named.map_or_else(|| Pipe::open(source, name, self.charge(scrape.quota)), Ok) {
            Ok(pipe) => pipe,
            Err(ProbeError::ResourceExhausted) => return false,
            Err(_) => {
                self.mark_gone();
                return true;
            }
        };
        let progress = pipe.read(&mut [0; PROBE_BYTES]);
        // A recorder takes its byte before it makes its pipe. So the byte is looked at once more, now that the pipe is
        // held: if it is still free, no recorder that lives made this one.
        if self.check(source, name) != Liveness::Dead {
            self.open = Some(pipe);
            return false;
        }
        // Whatever becomes of the pipe, the process that said that is dead.
        self.last = None;
        match progress {
            // Where we may not remove it, it stays and costs little: it is known to be dead. Where the name leads
            // elsewhere by now, that is another process.
            Ok(Progress::Pending) if pipe.has_no_writer() => {
                if matches!(remove_dead(&source.dir, name, &*pipe), Ok(false)) {
                    return false;
                }
            }
            // A process that holds no byte writes under that name by now, or another reader has the pipe.
            Ok(Progress::Pending) => {
                self.was_locked = !pipe.has_writer();
                self.open = Some(pipe);
                return false;
            }
            Ok(Progress::Complete(_)) => {
                self.was_locked = false;
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
