//! The collector's thread, which scrapes once for all waiting requests (single-flight).
//!
//! An answer comes from a scrape that began after its request arrived. One scrape runs at a time; all requests that arrive
//! during it share the next one, in any format. This file knows no HTTP.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::runtime;
use tokio::select;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::error::AnswerError;
use super::memory_budget::MemoryBudget;
use super::panics::Panics;
use super::warning_filter::WarningFilter;
use crate::aggregate::aggregate;
use crate::collect::{Collector, Warning};
use crate::encode::{Format, HostStats};
use crate::limits::{ANSWER_TIMEOUT, ANSWER_TIMEOUT_DEADLINES};

/// The body in the requested format, or why there is none. Requests that share a scrape share it.
pub(super) type Answer = Result<Bytes, Arc<AnswerError>>;

/// The sender of requests to the collector's thread, which ends when this is dropped.
pub(super) struct CollectorHandle {
    /// Bounded by the number of connections: each has one request at a time.
    requests: mpsc::UnboundedSender<BodyRequest>,
    timeout: Duration,
}

/// A request for a body.
struct BodyRequest {
    format: Format,
    reply: oneshot::Sender<Answer>,
}

impl CollectorHandle {
    /// Starts the collector's thread, which passes the warnings of each scrape to `filter`.
    pub(super) fn start(
        collector: Collector,
        filter: WarningFilter,
        panics: Arc<Panics>,
    ) -> io::Result<Self> {
        let timeout = ANSWER_TIMEOUT.max(ANSWER_TIMEOUT_DEADLINES * collector.deadline());
        let (sender, requests) = mpsc::unbounded_channel();
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let budget = MemoryBudget::default();
        let thread = CollectorThread { collector, filter, panics, budget, requests };
        let run = move || runtime.block_on(thread.run());
        thread::Builder::new().name("collector".to_owned()).spawn(run)?;
        Ok(Self { requests: sender, timeout })
    }

    /// Returns the body of a scrape that begins after this call.
    pub(super) async fn request(&self, format: Format) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.requests.send(BodyRequest { format, reply }).map_err(|_| AnswerError::Ended)?;
        match timeout(self.timeout, answer).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(AnswerError::Ended.into())),
            Err(_) => Err(AnswerError::TimedOut { timeout: self.timeout }.into()),
        }
    }
}

struct CollectorThread {
    collector: Collector,
    filter: WarningFilter,
    panics: Arc<Panics>,
    budget: MemoryBudget,
    requests: mpsc::UnboundedReceiver<BodyRequest>,
}

impl CollectorThread {
    async fn run(mut self) {
        let panics = Arc::clone(&self.panics);
        while let Some(mut waiting) = self.next_requests().await {
            // A request whose client has disconnected needs no scrape.
            waiting.retain(|request| !request.reply.is_closed());
            if waiting.is_empty() {
                continue;
            }
            let err = match panics.guard(self.answer(&mut waiting)).await {
                Ok(Ok(())) => continue,
                Ok(Err(err)) => Arc::new(err),
                Err(panicked) => {
                    // The panic may have left the collector inconsistent.
                    self.collector = self.collector.fresh();
                    Arc::new(AnswerError::Panicked(panicked))
                }
            };
            for request in waiting {
                let _ = request.reply.send(Err(Arc::clone(&err)));
            }
        }
    }

    /// Reads pipes of silent processes until requests arrive, and returns all of them; `None` once the handle is dropped.
    async fn next_requests(&mut self) -> Option<Vec<BodyRequest>> {
        let mut waiting = Vec::new();
        select! {
            biased;
            _ = self.requests.recv_many(&mut waiting, usize::MAX) => {}
            _ = self.panics.guard(self.collector.idle()) => {
                self.collector = self.collector.fresh();
                self.requests.recv_many(&mut waiting, usize::MAX).await;
            }
        }
        (!waiting.is_empty()).then_some(waiting)
    }

    /// Scrapes once, encodes each requested format once, and removes the requests that it answers from `waiting`.
    async fn answer(&mut self, waiting: &mut Vec<BodyRequest>) -> Result<(), AnswerError> {
        let collection = match self.collector.collect().await {
            Ok(collection) => collection,
            Err(err) => {
                self.filter.report(&[Warning::for_directory(self.collector.path(), &err)], Instant::now());
                return Err(AnswerError::Collect(err));
            }
        };
        self.filter.report(&collection.warnings, Instant::now());
        let sums = aggregate(collection.snapshots.iter().map(|(_, snapshot)| *snapshot));
        let stats = HostStats { collection, sums, timestamp_seconds: seconds_since_1970() };
        while let Some(format) = waiting.last().map(|request| request.format) {
            let body = self.budget.encode_within(|| format.encode(&stats)).await;
            let answer = body.map_err(|err| Arc::new(AnswerError::Encode(err)));
            // Send this body first: the next format may have to wait for its memory.
            for request in waiting.extract_if(.., |request| request.format == format) {
                let _ = request.reply.send(answer.clone());
            }
        }
        Ok(())
    }
}

fn seconds_since_1970() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
