//! Serving thread of a recorder: waits for a reader, swaps the pipe, writes a snapshot, and repeats.
//!
//! Owns the order of a read: first a fresh pipe takes the name, then the snapshot is taken, so that no pipe carries two
//! snapshots. It never blocks a thread that records.

use crate::error::Error;
use crate::limits::READER_POLL_INTERVAL;
use crate::pipe::write::write_with_deadline;
use crate::recorder::endpoint::{Endpoint, Swap};
use crate::recorder::failure_log::FailureLog;
use crate::recorder::snapshot_buf::SnapshotBuf;
use crate::sys::shutdown::ShutdownEvent;
use statvent_core::Reader;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Everything that the serving thread uses.
#[derive(Debug)]
pub(crate) struct ServeLoop {
    pub(crate) registry: Reader<'static>,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) shutdown: Arc<ShutdownEvent>,
    pub(crate) write_deadline: Duration,
    /// Longest delay between attempts while publishing fails.
    pub(crate) max_delay: Duration,
    pub(crate) counts: Arc<ReaderCounts>,
}

/// The numbers of readers so far.
#[derive(Debug, Default)]
pub(crate) struct ReaderCounts {
    // Relaxed everywhere: plain statistics, which promise nothing about other memory.
    pub(crate) served: AtomicU64,
    pub(crate) abandoned: AtomicU64,
}

/// What the loop does after one attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Next {
    Continue,
    Exit,
}

impl ServeLoop {
    /// Serves readers until shutdown, or until the endpoint is closed.
    pub(crate) fn run(&self) {
        let mut buf = SnapshotBuf::default();
        let mut failures = FailureLog::new(self.max_delay);
        while !self.shutdown.is_signalled() {
            match self.serve_next(&mut buf) {
                Ok(Next::Continue) => failures.on_success(),
                Ok(Next::Exit) => return,
                Err(err) => {
                    self.shutdown.wait(failures.on_failure(&err));
                }
            }
        }
    }

    /// Waits for one reader and serves it.
    fn serve_next(&self, buf: &mut SnapshotBuf) -> Result<Next, Error> {
        let delay = self.endpoint.delay_before_next_reader();
        if !delay.is_zero() && self.shutdown.wait(delay) {
            return Ok(Next::Exit);
        }
        let Some(fifo) = self.endpoint.next_pipe()? else { return Ok(Next::Exit) };
        let write_end = match fifo.wait_for_reader() {
            Ok(Some(write_end)) => write_end,
            Ok(None) => {
                self.shutdown.wait(READER_POLL_INTERVAL);
                return Ok(Next::Continue);
            }
            Err(source) => {
                self.endpoint.health_check();
                return Err(Error::Wait { path: self.endpoint.path(), source });
            }
        };
        if self.endpoint.swap(&fifo) == Swap::NotPublished {
            return Ok(Next::Continue);
        }
        let text = buf.render(self.registry.snapshot());
        let count = match write_with_deadline(&write_end, text, self.write_deadline, &self.shutdown) {
            Ok(()) => &self.counts.served,
            Err(_) => &self.counts.abandoned,
        };
        count.fetch_add(1, Ordering::Relaxed);
        Ok(Next::Continue)
    }
}
