//! What is remembered of one process from collection to collection.
//!
//! Owns how an answer, a silence or a missing name changes that, and whether a dead process' pipe is removed. It
//! waits for nothing (see `scrape`). Called by the collector.

use std::ffi::OsStr;
use std::time::{Duration, Instant};

use statvent_posix::dir::PipeDir;
use statvent_posix::sweep::remove_dead;

use super::life::{self, Doubt, Life};
use super::pipe::{Opening, Pipe, PipeError, Step};
use super::reading::Reading;
use super::scrape::{Heard, Question};

/// How long a live process without a lock may need from the removal of its pipe to the next one.
const MISSING_PATIENCE: Duration = Duration::from_millis(100);
/// How long a process is waited for that is dead as far as can be seen.
const DOUBTFUL_PATIENCE: Duration = Duration::from_millis(3);

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

/// One process, known by the name of its pipe.
#[derive(Default)]
pub(super) struct Process {
    /// What it said last.
    pub(super) last: Option<Reading>,
    /// The pipe on which it is still asked.
    pub(super) open: Option<Box<Pipe>>,
    /// It did not answer when it was asked last.
    is_late: bool,
    /// Its byte was held once.
    seen_held: bool,
    /// No process here had its pid when it was asked last.
    is_doubtful: bool,
    /// It answered all the same: its pid is one of another pid namespace.
    has_foreign_pid: bool,
    doubt: Option<Doubt>,
    is_gone: bool,
}

impl Process {
    /// Whether nothing needs to be remembered of it once its name is gone as well.
    pub(super) const fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Makes the question to put to it; `None` if it is dead.
    pub(super) fn question<'a>(
        &mut self,
        dir: &PipeDir,
        name: &'a OsStr,
        deadline: Duration,
    ) -> Option<Question<'a>> {
        let life = life::look(dir, name, &mut self.seen_held);
        if life == Life::Dead && self.bury(dir, name) {
            return None;
        }
        self.is_doubtful = life == Life::Doubtful;
        let patience = if self.is_late {
            Duration::ZERO
        } else if self.is_doubtful && !self.has_foreign_pid {
            deadline.min(DOUBTFUL_PATIENCE)
        } else {
            deadline
        };
        let missing_patience = patience.min(MISSING_PATIENCE);
        Some(Question { name, open: self.open.take(), patience, missing_patience })
    }

    /// Takes what came of asking it.
    pub(super) fn take(&mut self, dir: &PipeDir, name: &OsStr, heard: Heard) -> Standing {
        match heard {
            Heard::Said(reading) => {
                let has_foreign_pid = self.is_doubtful;
                self.forget();
                self.has_foreign_pid = has_foreign_pid;
                self.last = Some(reading);
                Standing::Ok
            }
            Heard::Nothing(open) => {
                self.open = open;
                self.stand_silent(dir, name)
            }
            Heard::Missing => match life::look(dir, name, &mut self.seen_held) {
                // The name of a live recorder comes back: it looks after it.
                Life::Alive => self.stand_late(),
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
            Step::Finished(reading) => {
                self.last = Some(reading);
                self.is_late = false;
            }
            // The next collection opens the name again and sees for itself.
            Step::Retired { .. } | Step::Failed(_) => {}
        }
        self.open = None;
    }

    /// It was asked and said nothing: late, unless it died meanwhile or long ago.
    fn stand_silent(&mut self, dir: &PipeDir, name: &OsStr) -> Standing {
        match life::look(dir, name, &mut self.seen_held) {
            Life::Dead if self.bury(dir, name) => Standing::Gone,
            Life::Doubtful => self.stand_in_doubt(dir, name, Instant::now()),
            Life::Alive | Life::Unknown | Life::Dead => {
                self.doubt = None;
                self.stand_late()
            }
        }
    }

    fn stand_in_doubt(&mut self, dir: &PipeDir, name: &OsStr, now: Instant) -> Standing {
        // What is dead as far as can be seen keeps no descriptor; a writer proves the contrary.
        let Some(quiet) = self.open.take_if(|open| !open.has_writer()) else {
            self.doubt = None;
            return self.stand_late();
        };
        let doubt = Doubt::grow(self.doubt, quiet.id(), now);
        self.doubt = Some(doubt);
        if doubt.is_certain(now) && remove_dead(dir, name, &*quiet).unwrap_or(false) {
            return self.stand_gone();
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
        *self = Self { seen_held: self.seen_held, ..Self::default() };
    }

    /// Removes the pipe of a process whose byte was held and is free; `false` if somebody else, who holds no byte,
    /// writes under that name by now.
    fn bury(&mut self, dir: &PipeDir, name: &OsStr) -> bool {
        let open = self.open.take().map_or_else(|| Pipe::open(dir, name), Opening::Pipe);
        if let Opening::Pipe(mut pipe) = open {
            pipe.advance(Instant::now(), &mut [0; PROBE_BYTES]);
            if pipe.has_writer() {
                self.seen_held = false;
                self.open = Some(pipe);
                return false;
            }
            // Where we may not remove it, it stays and costs little: it is known to be dead.
            let _ = remove_dead(dir, name, &*pipe);
        }
        self.stand_gone();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    /// A pipe in a directory, which nobody writes and whose pid no process has.
    const NAME: &str = "2147483647.stats";

    fn abandoned() -> (tempfile::TempDir, PipeDir) {
        let temp = tempfile::tempdir().unwrap();
        mkfifo(&temp.path().join(NAME), Mode::S_IRUSR).unwrap();
        let dir = PipeDir::open(temp.path()).unwrap();
        (temp, dir)
    }

    fn ask(process: &mut Process, dir: &PipeDir, now: Instant) -> Standing {
        let Opening::Pipe(mut pipe) = Pipe::open(dir, NAME.as_ref()) else { panic!("no pipe") };
        pipe.advance(now, &mut [0; PROBE_BYTES]);
        process.open = Some(pipe);
        process.stand_in_doubt(dir, NAME.as_ref(), now)
    }

    #[test]
    fn an_abandoned_pipe_is_removed_in_the_third_round_after_ten_seconds() {
        let (temp, dir) = abandoned();
        let start = Instant::now();
        let mut process = Process { last: Some(Reading::default()), ..Process::default() };
        for (seconds, exists) in [(0, true), (1, true), (9, true), (10, false)] {
            let standing = ask(&mut process, &dir, start + Duration::from_secs(seconds));
            assert_eq!(matches!(standing, Standing::Stale), exists, "after {seconds} s");
            assert_eq!(temp.path().join(NAME).exists(), exists, "after {seconds} s");
        }
        assert!(process.is_gone() && process.last.is_none());
    }

    #[test]
    fn a_writer_clears_all_doubt() {
        let (temp, dir) = abandoned();
        let start = Instant::now();
        let mut process = Process::default();
        for seconds in [0, 5] {
            ask(&mut process, &dir, start + Duration::from_secs(seconds));
        }
        let path = temp.path().join(NAME);
        let writer = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        ask(&mut process, &dir, start + Duration::from_secs(10));
        process.open = None;
        drop(writer);
        for seconds in [11, 19] {
            assert!(matches!(ask(&mut process, &dir, start + Duration::from_secs(seconds)), Standing::Late));
        }
        assert!(path.exists(), "removed on the strength of rounds before the writer came");
    }

    #[test]
    fn a_writer_that_took_a_dead_pipe_s_name_is_not_buried() {
        let (temp, dir) = abandoned();
        let path = temp.path().join(NAME);
        let _writer = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut process = Process { seen_held: true, ..Process::default() };
        let question = process.question(&dir, NAME.as_ref(), Duration::from_secs(1));
        assert!(
            question.is_some_and(|question| question.open.is_some()),
            "it is asked on the pipe that was opened"
        );
        assert!(path.exists());
    }

    #[test]
    fn a_pipe_whose_byte_was_held_and_is_free_is_removed_at_once() {
        let (temp, dir) = abandoned();
        let mut process = Process { seen_held: true, last: Some(Reading::default()), ..Process::default() };
        assert!(process.question(&dir, NAME.as_ref(), Duration::from_secs(1)).is_none());
        assert!(process.is_gone() && process.last.is_none());
        assert!(!temp.path().join(NAME).exists());
    }
}
