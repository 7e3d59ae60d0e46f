//! One process, asked once: straight from opening its pipe to a snapshot that is believed.
//!
//! Owns how long each step may take. What an answer or a silence means for the process is in `process`, which answers are
//! believed in `validator`.

use std::ffi::OsStr;
use std::mem::take;
use std::time::Duration;

use tokio::sync::SemaphorePermit;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout_at};

use super::schedule::Scrape;
use crate::collect::pipe::{FIRST_PAUSE, Pipe, ProbeError, Progress};
use crate::collect::process::{Process, Status};
use crate::collect::snapshot::ProcessSnapshot;
use crate::collect::validation::{Validator, is_complete};

/// How long a live process without a lock may take from the removal of its pipe to the next one: on an idle machine a
/// millisecond. With a long deadline a tenth of that.
const MISSING_TIMEOUT: Duration = Duration::from_millis(100);
/// A process that takes longer than this to answer no longer keeps others from being asked.
const LONGEST_TURN: Duration = Duration::from_millis(10);
/// A process that was late has no more time than this once it shows that it is awake: it may do so each time and never give
/// a complete answer.
const LATE_DEADLINE: Duration = Duration::from_millis(100);
/// Between two looks for a name that is missing, and between two answers that are not believed.
const RETRY_PAUSE: Duration = Duration::from_millis(2);
/// So often a process is asked again without a pause.
const AT_ONCE: u32 = 16;

struct Probe<'a, 's> {
    scrape: &'a Scrape<'s>,
    name: &'a OsStr,
    process: &'a mut Process,
    validator: Validator,
    /// One of the few that are asked at a time, while an answer is expected at any moment.
    turn: Option<SemaphorePermit<'a>>,
    turn_ends: Instant,
    /// When it is given up if it has not shown that it is awake, which makes it `ends`.
    until: Instant,
    /// When it is given up in any case.
    ends: Instant,
}

/// Asks one process, and leaves in it what came of that.
pub(in crate::collect) async fn probe(scrape: &Scrape<'_>, name: &OsStr, process: &mut Process) {
    let turn = scrape.turns.acquire().await.ok();
    scrape.count_reopened(process);
    let Some(timeout) = process.response_timeout(scrape, name) else { return process.status = Status::Gone };
    let result = {
        let now = Instant::now();
        let was_late = timeout.is_zero();
        let deadline = if was_late { scrape.deadline.min(LATE_DEADLINE) } else { scrape.deadline };
        let turn_ends = now + LONGEST_TURN;
        let ends = scrape.ends.max(turn_ends).min(now + deadline);
        let mut probe = Probe {
            scrape,
            name,
            process,
            validator: Validator::default(),
            turn,
            turn_ends,
            until: ends.min(now + timeout),
            ends,
        };
        match probe.run().await {
            Err(ProbeError::TimedOut) => probe.validator.best_effort().ok_or(ProbeError::TimedOut),
            result => result,
        }
    };
    process.status = process.conclude(scrape, name, result);
    scrape.keep_open(process);
}

impl Probe<'_, '_> {
    async fn run(&mut self) -> Result<ProcessSnapshot, ProbeError> {
        if let Some(pipe) = take(&mut self.process.open) {
            // Opened before the process was asked: what it says may be old, and is better than what it said before.
            if let Progress::Complete(snapshot) = self.read(pipe).await?
                && is_complete(&snapshot, self.process.baseline())
            {
                self.process.replace_snapshot(snapshot);
            }
            self.until = self.ends;
        }
        for round in 0.. {
            let pipe = self.open().await?;
            let snapshot = match self.read(pipe).await? {
                Progress::Complete(snapshot) => Some(snapshot),
                Progress::Retired { was_locked: true } => Some(ProcessSnapshot::default()),
                Progress::Retired { was_locked: false } | Progress::Pending => None,
            };
            let before = self.process.baseline();
            if let Some(snapshot) = snapshot.and_then(|snapshot| self.validator.validate(snapshot, before)) {
                return Ok(snapshot);
            }
            // It is awake, however silent it was before.
            self.until = self.ends;
            if round < AT_ONCE { yield_now().await } else { self.pause().await? }
        }
        Err(ProbeError::TimedOut)
    }

    /// Opens the pipe, as soon as there is one.
    async fn open(&mut self) -> Result<Box<Pipe>, ProbeError> {
        let patience = MISSING_TIMEOUT.max(self.scrape.deadline / 10);
        let mut missing_until = None;
        loop {
            match Pipe::open(self.scrape.source, self.name, self.process.charge(self.scrape.quota)) {
                // Not the fault of the process: until there are some again, what it said last counts.
                Err(ProbeError::ResourceExhausted) => self.pause().await?,
                Err(ProbeError::NotFound) => {
                    self.turn = None;
                    let now = Instant::now();
                    if now >= *missing_until.get_or_insert(now + patience) {
                        return Err(ProbeError::NotFound);
                    }
                    self.pause().await.map_err(|_| ProbeError::NotFound)?;
                }
                opened => return opened,
            }
        }
    }

    /// Waits a moment; fails if time is up.
    async fn pause(&self) -> Result<(), ProbeError> {
        timeout_at(self.until, sleep(RETRY_PAUSE)).await.map_err(|_| ProbeError::TimedOut)
    }

    /// Reads the pipe to its end; one that is not finished in time stays open.
    async fn read(&mut self, mut pipe: Box<Pipe>) -> Result<Progress, ProbeError> {
        let mut pause = FIRST_PAUSE;
        loop {
            match pipe.read(&mut self.scrape.chunk.borrow_mut()).map_err(ProbeError::Pipe)? {
                Progress::Pending => {}
                progress => return Ok(progress),
            }
            // Without a writer there is no answer to expect.
            self.turn.take_if(|_| !pipe.has_writer());
            let until = if self.turn.is_some() { self.until.min(self.turn_ends) } else { self.until };
            let is_late = Instant::now() >= until || timeout_at(until, pipe.wait(&mut pause)).await.is_err();
            if is_late && self.turn.take().is_none() {
                self.process.open = Some(pipe);
                return Err(ProbeError::TimedOut);
            }
        }
    }
}
