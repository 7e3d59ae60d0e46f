//! What is remembered of one process from collection to collection.
//!
//! Owns how an answer, a silence or a missing name changes that, and whether a dead process' pipe is removed. It
//! waits for nothing (see `scrape`). Called by the collector.

use std::ffi::OsStr;
use std::time::{Duration, Instant};

use statvent_posix::sweep::remove_dead;

use super::asked::{CROWD_PATIENCE, Heard, Question, Told, Turn};
use super::belief::is_whole;
use super::discover::Source;
use super::life::{self, Doubt, Life};
use super::pipe::{Opening, Pipe, PipeError, Step};
use super::reading::Reading;

/// How long a process is waited for that is dead as far as can be seen.
const DOUBTFUL_PATIENCE: Duration = Duration::from_millis(3);

/// How long a process is waited for that showed itself awake in the last collection and said nothing to be believed: so
/// that it costs every answer little, and yet can be believed again.
const EVASIVE_PATIENCE: Duration = Duration::from_millis(100);

/// Enough to see whether somebody writes.
const PROBE_BYTES: usize = 4096;

/// What became of a process in a collection.
pub(super) enum Standing {
    /// It answered.
    Ok,
    /// It did not, and its last values count.
    Stale,
    /// It did not, and never did before.
    Late,
    /// Its pipe cannot be read.
    Unreadable(PipeError),
    /// Its name leads to something else than a pipe.
    Foreign,
    /// It is gone, and nothing of it counts.
    Gone,
}

/// Who keeps a place where there are too few, those first that lose it first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Rank {
    /// It is dead, and its pipe may not be removed.
    Gone,
    /// Nothing was ever heard of it, whoever holds its byte: as far as can be told, nobody is there.
    Stranger,
    /// It was heard, and nothing has its name.
    Missing,
    /// It was heard, or somebody is about to say something.
    Heard,
}

/// One process, known by the name of its pipe.
#[derive(Default)]
pub(super) struct Process {
    /// What it said last.
    pub(super) last: Option<Reading>,
    /// The pipe on which it is still asked.
    pub(super) open: Option<Box<Pipe>>,
    /// It did not answer when it was asked last.
    is_late: bool,
    /// It showed that it was awake and said nothing to be believed, and has not been believed since.
    is_evasive: bool,
    /// It was not asked yet, and there are more like it than there is room for.
    is_in_crowd: bool,
    /// Its byte was held once.
    seen_held: bool,
    /// No process here had its pid when it was asked last.
    is_doubtful: bool,
    /// It answered all the same: its pid is one of another pid namespace.
    has_foreign_pid: bool,
    doubt: Option<Doubt>,
    is_gone: bool,
    /// Its name is in the newest listing of the directory.
    pub(super) is_listed: bool,
}

impl Process {
    /// Whether nothing needs to be remembered of it once its name is gone as well.
    pub(super) const fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Returns a process whose pipe is one of more than there is room for, and which holds no byte.
    pub(super) fn in_crowd() -> Self {
        Self { is_in_crowd: true, ..Self::default() }
    }

    /// Says whether it keeps its place before others.
    pub(super) fn rank(&self) -> Rank {
        let has_writer = self.open.as_ref().is_some_and(|open| open.has_writer());
        if self.is_gone {
            Rank::Gone
        } else if self.last.is_none() && !has_writer {
            Rank::Stranger
        } else if self.is_listed {
            Rank::Heard
        } else {
            Rank::Missing
        }
    }

    /// Leaves out what it said, for which there is no room.
    pub(super) fn refuse(&mut self) {
        self.forget();
    }

    /// The memory for what it said last and what it says now, in bytes.
    pub(super) fn n_bytes(&self) -> usize {
        self.last.as_ref().map_or(0, Reading::n_bytes) + self.open.as_ref().map_or(0, |open| open.n_bytes())
    }

    /// Makes the question to put to it; `None` if it is dead.
    pub(super) fn question<'a>(
        &mut self,
        source: &Source,
        name: &'a OsStr,
        deadline: Duration,
    ) -> Option<Question<'a>> {
        if life::look(&source.dir, name, &mut self.seen_held) == Life::Dead && self.bury(source, name) {
            return None;
        }
        let life = life::look(&source.dir, name, &mut self.seen_held);
        self.is_doubtful = life == Life::Doubtful;
        let deadline = if self.is_evasive { deadline.min(EVASIVE_PATIENCE) } else { deadline };
        let patience = match life {
            _ if self.is_late => Duration::ZERO,
            _ if self.is_in_crowd => deadline.min(CROWD_PATIENCE),
            Life::Doubtful if !self.has_foreign_pid => deadline.min(DOUBTFUL_PATIENCE),
            Life::Dead => deadline.min(DOUBTFUL_PATIENCE),
            _ => deadline,
        };
        let only_grows = life == Life::Alive;
        let is_stranger = !self.seen_held && self.rank() == Rank::Stranger;
        let turn = match self.last {
            _ if self.is_late || self.is_evasive => Turn::Last,
            Some(_) => Turn::First,
            None if self.seen_held => Turn::Second,
            None => Turn::Last,
        };
        let (open, last) = (self.open.take(), self.last.take());
        Some(Question { name, open, last, only_grows, is_stranger, turn, patience, deadline })
    }

    /// Takes what came of asking it.
    pub(super) fn take(&mut self, source: &Source, name: &OsStr, told: Told) -> Standing {
        self.last = told.last;
        self.is_in_crowd = false;
        match told.heard {
            Heard::Said(reading) => {
                let has_foreign_pid = self.is_doubtful;
                self.forget();
                self.has_foreign_pid = has_foreign_pid;
                self.last = Some(reading);
                Standing::Ok
            }
            Heard::Nothing(open) => {
                self.open = open;
                self.is_evasive |= told.was_awake;
                self.stand_silent(source, name)
            }
            Heard::Missing => match life::look(&source.dir, name, &mut self.seen_held) {
                // The name of a live recorder comes back: it looks after it. Until then what it said counts, and if it never
                // said anything there is nothing to be remembered.
                Life::Alive if self.last.is_some() => self.stand_late(),
                _ => self.stand_gone(),
            },
            Heard::Foreign => {
                self.stand_gone();
                Standing::Foreign
            }
            Heard::Failed(err) => {
                self.forget();
                Standing::Unreadable(err)
            }
        }
    }

    /// Takes a turn of its open pipe between two collections.
    pub(super) fn take_step(&mut self, step: Step) {
        match step {
            Step::Wait => return,
            // It has woken up. What is not believed is asked for again by the next collection.
            Step::Finished(reading) => {
                self.is_late = false;
                if is_whole(&reading, self.last.as_ref().filter(|_| self.seen_held)) {
                    self.last = Some(reading);
                }
            }
            Step::Retired { .. } => self.is_late = false,
            // The next collection opens the name again and sees for itself.
            Step::Failed(_) => {}
        }
        self.open = None;
    }

    /// It was asked and said nothing: late, unless it died meanwhile or long ago.
    fn stand_silent(&mut self, source: &Source, name: &OsStr) -> Standing {
        match life::look(&source.dir, name, &mut self.seen_held) {
            Life::Dead if self.bury(source, name) => Standing::Gone,
            Life::Doubtful => self.stand_in_doubt(source, name, Instant::now()),
            Life::Alive | Life::Unknown | Life::Dead => {
                self.doubt = None;
                self.stand_late()
            }
        }
    }

    fn stand_in_doubt(&mut self, source: &Source, name: &OsStr, now: Instant) -> Standing {
        if self.open.as_ref().is_some_and(|open| open.has_writer()) {
            self.doubt = None;
        }
        // What is dead as far as can be seen keeps no descriptor.
        if let Some(quiet) = self.open.take_if(|open| open.is_quiet()) {
            let doubt = Doubt::grow(self.doubt, quiet.id(), now);
            self.doubt = Some(doubt);
            if doubt.is_certain(now) && remove_dead(&source.dir, name, &*quiet).unwrap_or(false) {
                return self.stand_gone();
            }
        }
        self.stand_late()
    }

    const fn stand_late(&mut self) -> Standing {
        self.is_late = true;
        if self.last.is_some() { Standing::Stale } else { Standing::Late }
    }

    fn stand_gone(&mut self) -> Standing {
        self.forget();
        self.is_gone = true;
        Standing::Gone
    }

    /// Forgets all but that its byte was held, which says who it is for as long as the name is there.
    fn forget(&mut self) {
        *self = Self { seen_held: self.seen_held, is_listed: self.is_listed, ..Self::default() };
    }

    /// Removes the pipe of a process whose byte was held and is free; `false` where that is not proved of this very
    /// pipe, which stays and is asked.
    fn bury(&mut self, source: &Source, name: &OsStr) -> bool {
        // A recorder retires its pipe before it writes to it: what is left in that one are its last words.
        let named = self.open.take_if(|open| !open.is_retired().unwrap_or(false));
        self.open = None;
        let mut pipe = match named.map_or_else(|| Pipe::open(source, name), Opening::Pipe) {
            Opening::Pipe(pipe) => pipe,
            Opening::NotNow => return false,
            Opening::Missing | Opening::Foreign | Opening::Refused(_) => {
                self.stand_gone();
                return true;
            }
        };
        let step = pipe.advance(Instant::now(), &mut [0; PROBE_BYTES]);
        // A recorder takes its byte before it makes its pipe. So the byte is looked at once more, now that the pipe is
        // held: if it is still free, no recorder that lives made this one.
        if life::look(&source.dir, name, &mut self.seen_held) != Life::Dead {
            self.open = Some(pipe);
            return false;
        }
        // Whatever becomes of the pipe, the one who said that is dead.
        self.last = None;
        match step {
            // Where we may not remove it, it stays and costs little: it is known to be dead. Where the name leads
            // elsewhere by now, that is another one.
            Step::Wait if pipe.is_quiet() => {
                if matches!(remove_dead(&source.dir, name, &*pipe), Ok(false)) {
                    return false;
                }
            }
            // Somebody else, who holds no byte, writes under that name by now; or another reader has the pipe.
            Step::Wait => {
                self.seen_held = !pipe.has_writer();
                self.open = Some(pipe);
                return false;
            }
            Step::Finished(_) => {
                self.seen_held = false;
                return false;
            }
            Step::Retired { .. } => return false,
            Step::Failed(_) => {}
        }
        self.stand_gone();
        true
    }
}

#[cfg(test)]
mod tests;
