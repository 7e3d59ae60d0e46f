//! The probe of one process: from opening its pipe to a snapshot that is accepted.
//!
//! Owns the timeout of each step. Whether a snapshot is accepted is decided in `validation`; what an answer or a timeout means
//! for the process, in `process`.

use std::ffi::OsStr;
use std::mem::take;

use tokio::sync::SemaphorePermit;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout_at};

use super::context::ScrapeContext;
use crate::collect::error::ProbeError;
use crate::collect::pipe::{Pipe, Progress};
use crate::collect::process::{Process, Status};
use crate::collect::snapshot::ProcessSnapshot;
use crate::collect::validation::{Validator, is_complete};
use crate::limits::{
    FIRST_READ_PAUSE, MAX_SLOT_TIME, MISSING_TIMEOUT, N_IMMEDIATE_RETRIES, RETRY_PAUSE, SILENT_DEADLINE,
};

struct Probe<'a, 's> {
    context: &'a ScrapeContext<'s>,
    name: &'a OsStr,
    process: &'a mut Process,
    validator: Validator,
    /// Held while the process is expected to answer at any moment.
    slot: Option<SemaphorePermit<'a>>,
    slot_ends_at: Instant,
    /// When to give up: the timeout of the first response, then `ends_at`.
    until: Instant,
    /// When to give up although the process responded.
    ends_at: Instant,
}

/// Probes one process and stores the result in it.
pub(super) async fn probe(context: &ScrapeContext<'_>, name: &OsStr, process: &mut Process) {
    let slot = context.slots.acquire().await.ok();
    context.uncount_kept(process);
    let timeout = process.response_timeout(context.dir, name, context.quota, context.deadline);
    let Some(timeout) = timeout else { return process.status = Status::Gone };
    let result = {
        let now = Instant::now();
        let was_silent = timeout.is_zero();
        let deadline = if was_silent { context.deadline.min(SILENT_DEADLINE) } else { context.deadline };
        let slot_ends_at = now + MAX_SLOT_TIME;
        let ends_at = context.ends_at.max(slot_ends_at).min(now + deadline);
        let until = ends_at.min(now + timeout);
        let validator = Validator::default();
        let mut probe = Probe { context, name, process, validator, slot, slot_ends_at, until, ends_at };
        match probe.run().await {
            Err(ProbeError::TimedOut) => probe.validator.best_effort().ok_or(ProbeError::TimedOut),
            result => result,
        }
    };
    process.status = process.apply_result(context.dir, name, context.quota, result);
    context.keep_open(process);
}

impl Probe<'_, '_> {
    async fn run(&mut self) -> Result<ProcessSnapshot, ProbeError> {
        if let Some(pipe) = take(&mut self.process.open_pipe) {
            // Opened in an earlier scrape: this snapshot may be old. It replaces the last one, and is not the answer.
            if let Progress::Complete(snapshot) = self.read(pipe).await?
                && is_complete(&snapshot, self.process.baseline())
            {
                self.process.replace_snapshot(snapshot);
            }
            self.until = self.ends_at;
        }
        for n_retries in 0.. {
            let pipe = self.open().await?;
            let snapshot = match self.read(pipe).await? {
                Progress::Complete(snapshot) => Some(snapshot),
                Progress::Retired { was_flocked: true } => Some(ProcessSnapshot::default()),
                Progress::Retired { was_flocked: false } | Progress::Pending => None,
            };
            let baseline = self.process.baseline();
            let accepted = snapshot.and_then(|snapshot| self.validator.validate(snapshot, baseline));
            if let Some(snapshot) = accepted {
                return Ok(snapshot);
            }
            // It responded, so it has the whole deadline.
            self.until = self.ends_at;
            if n_retries < N_IMMEDIATE_RETRIES { yield_now().await } else { self.pause().await? }
        }
        Err(ProbeError::TimedOut)
    }

    /// Opens the pipe; waits for a name that is missing.
    async fn open(&mut self) -> Result<Box<Pipe>, ProbeError> {
        let missing_timeout = MISSING_TIMEOUT.max(self.context.deadline / 10);
        let mut missing_until = None;
        loop {
            match Pipe::open(self.context.dir, self.name, self.process.charge(self.context.quota)) {
                // Not the fault of the process: its last snapshot counts until descriptors are free again.
                Err(ProbeError::ResourceExhausted) => self.pause().await?,
                Err(ProbeError::NotFound) => {
                    self.slot = None;
                    let now = Instant::now();
                    if now >= *missing_until.get_or_insert(now + missing_timeout) {
                        return Err(ProbeError::NotFound);
                    }
                    self.pause().await.map_err(|_| ProbeError::NotFound)?;
                }
                opened => return opened,
            }
        }
    }

    /// Pauses before a retry; fails when time is up.
    async fn pause(&self) -> Result<(), ProbeError> {
        timeout_at(self.until, sleep(RETRY_PAUSE)).await.map_err(|_| ProbeError::TimedOut)
    }

    /// Reads the pipe to its end. If time is up first, the pipe stays open in the process.
    async fn read(&mut self, mut pipe: Box<Pipe>) -> Result<Progress, ProbeError> {
        let mut pause = FIRST_READ_PAUSE;
        loop {
            match pipe.read(&mut self.context.chunk.borrow_mut()).map_err(ProbeError::Pipe)? {
                Progress::Pending => {}
                progress => return Ok(progress),
            }
            // Without a writer, no answer is expected soon.
            self.slot.take_if(|_| !pipe.has_writer());
            let until = if self.slot.is_some() { self.until.min(self.slot_ends_at) } else { self.until };
            let timed_out =
                Instant::now() >= until || timeout_at(until, pipe.wait(&mut pause)).await.is_err();
            if timed_out && self.slot.take().is_none() {
                self.process.open_pipe = Some(pipe);
                return Err(ProbeError::TimedOut);
            }
        }
    }
}
