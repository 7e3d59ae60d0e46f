//! What is remembered of one process from collection to collection.
//!
//! Owns how an answer, a silence or a missing name changes that, and whether a dead process' pipe is removed. It
//! waits for nothing (see `scrape`). Called by the collector.

use std::ffi::OsStr;
use std::time::{Duration, Instant};

use statvent_posix::dir::PipeDir;
use statvent_posix::sweep::remove_dead;

use super::asked::{Heard, Question};
use super::belief::is_whole;
use super::life::{self, Doubt, Life};
use super::pipe::{Opening, Pipe, PipeError, Step};
use super::reading::Reading;

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

    /// The memory for what it said last and what it says now, in bytes.
    pub(super) fn n_bytes(&self) -> usize {
        self.last.as_ref().map_or(0, Reading::n_bytes) + self.open.as_ref().map_or(0, |open| open.n_bytes())
    }

    /// Makes the question to put to it; `None` if it is dead.
    pub(super) fn question<'a>(
        &'a mut self,
        dir: &PipeDir,
        name: &'a OsStr,
        deadline: Duration,
    ) -> Option<Question<'a>> {
        if life::look(dir, name, &mut self.seen_held) == Life::Dead && self.bury(dir, name) {
            return None;
        }
        let life = life::look(dir, name, &mut self.seen_held);
        self.is_doubtful = life == Life::Doubtful;
        let patience = match life {
            _ if self.is_late => Duration::ZERO,
            Life::Doubtful if !self.has_foreign_pid => deadline.min(DOUBTFUL_PATIENCE),
            Life::Dead => deadline.min(DOUBTFUL_PATIENCE),
            _ => deadline,
        };
        let only_grows = life == Life::Alive;
        Some(Question {
            name,
            open: self.open.take(),
            last: self.last.as_ref(),
            only_grows,
            patience,
            deadline,
        })
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
        if self.open.as_ref().is_some_and(|open| open.has_writer()) {
            self.doubt = None;
        }
        // What is dead as far as can be seen keeps no descriptor.
        if let Some(quiet) = self.open.take_if(|open| open.is_quiet()) {
            let doubt = Doubt::grow(self.doubt, quiet.id(), now);
            self.doubt = Some(doubt);
            if doubt.is_certain(now) && remove_dead(dir, name, &*quiet).unwrap_or(false) {
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
        *self = Self { seen_held: self.seen_held, ..Self::default() };
    }

    /// Removes the pipe of a process whose byte was held and is free; `false` where that is not proved of this very
    /// pipe, which stays and is asked.
    fn bury(&mut self, dir: &PipeDir, name: &OsStr) -> bool {
        let open = self.open.take().map_or_else(|| Pipe::open(dir, name), Opening::Pipe);
        let Opening::Pipe(mut pipe) = open else {
            self.stand_gone();
            return true;
        };
        let step = pipe.advance(Instant::now(), &mut [0; PROBE_BYTES]);
        // A recorder takes its byte before it makes its pipe. So the byte is looked at once more, now that the pipe is
        // held: if it is still free, no recorder that lives made this one.
        if life::look(dir, name, &mut self.seen_held) != Life::Dead {
            self.open = Some(pipe);
            return false;
        }
        match step {
            // Where we may not remove it, it stays and costs little: it is known to be dead. Where the name leads
            // elsewhere by now, that is another one.
            Step::Wait if pipe.is_quiet() => {
                if matches!(remove_dead(dir, name, &*pipe), Ok(false)) {
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
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use statvent_core::Registry;
    use statvent_posix::Recorder;
    use std::fs::{File, OpenOptions, remove_file};

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
        let writer = OpenOptions::new().read(true).write(true).open(&path).unwrap();
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
        let _writer = OpenOptions::new().read(true).write(true).open(&path).unwrap();
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

    // 1. A recorder ends; the collector sees that its byte is free. 2. Another one takes the name: the byte, then the
    // pipe. 3. The collector opens that pipe, which nobody writes at this moment, and must not remove it.
    #[test]
    fn a_pipe_whose_byte_is_taken_by_the_time_it_is_open_is_not_buried() {
        static STATS: Registry<2, 1, 0> = Registry::new();
        let temp = tempfile::tempdir().unwrap();
        let recorder = Recorder::builder(&STATS).directory(temp.path()).without_upkeep().start().unwrap();
        let path = recorder.path();
        // The pipe that has the name is one that the recorder does not wait at.
        remove_file(&path).unwrap();
        mkfifo(&path, Mode::S_IRUSR).unwrap();
        let dir = PipeDir::open(temp.path()).unwrap();
        let mut process = Process { seen_held: true, ..Process::default() };
        assert!(!process.bury(&dir, path.file_name().unwrap()));
        assert!(path.exists() && process.open.is_some());
    }

    // 1. Another reader holds the pipe, and its writer with it. 2. So we cannot see that there is one. 3. That is no
    // evidence that nobody writes.
    #[test]
    fn a_pipe_that_another_reader_has_is_not_removed() {
        let (temp, dir) = abandoned();
        let path = temp.path().join(NAME);
        let _writer = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let reader = File::open(&path).unwrap();
        reader.try_lock().unwrap();
        let mut process = Process { seen_held: true, ..Process::default() };
        let question = process.question(&dir, NAME.as_ref(), Duration::from_secs(1)).unwrap();
        let heard = Heard::Nothing(question.open);
        assert!(matches!(process.take(&dir, NAME.as_ref(), heard), Standing::Late));
        assert!(path.exists(), "removed on the strength of a byte");

        let start = Instant::now();
        let mut process = Process::default();
        for seconds in [0, 5, 10, 20] {
            ask(&mut process, &dir, start + Duration::from_secs(seconds));
        }
        assert!(path.exists(), "removed on the strength of silence");
    }

    #[test]
    fn a_late_process_that_retires_its_pipe_is_waited_for_again() {
        let (_temp, dir) = abandoned();
        let mut process = Process { is_late: true, ..Process::default() };
        let patience = |process: &mut Process| {
            process.has_foreign_pid = true;
            process.question(&dir, NAME.as_ref(), Duration::from_secs(1)).map(|question| question.patience)
        };
        assert_eq!(patience(&mut process), Some(Duration::ZERO));
        process.take_step(Step::Retired { was_ours: true });
        assert_eq!(patience(&mut process), Some(Duration::from_secs(1)));
    }

    #[test]
    fn what_comes_between_two_collections_is_checked_as_well() {
        let reading = |text: &str| Reading::parse(text.as_bytes()).unwrap();
        let mut process = Process { seen_held: true, is_late: true, ..Process::default() };
        for (text, n_stats) in
            [("a: 1\nb: 2\n", 2), ("b: 3\n", 2), ("a: 1\nb: 2\nc: 3", 2), ("a: 1\nb: 2\nc: 3\n", 3)]
        {
            process.take_step(Step::Finished(reading(text)));
            assert_eq!(process.last.as_ref().unwrap().n_stats(), n_stats, "{text}");
            assert!(!process.is_late);
        }
    }
}
