//! The collector's thread, and the way to it.
//!
//! Owns the rule that an answer comes from a scrape that began after its request arrived: one scrape is in flight, and
//! all requests that arrive meanwhile share the next one, whatever formats they ask for. It knows nothing of HTTP.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use std::{fmt, io};

use bytes::Bytes;
use tokio::runtime;
use tokio::select;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::body::MemoryBudget;
use super::panics::{Panicked, Panics};
use super::reports::Reports;
use crate::aggregate::aggregate;
use crate::collect::{CollectError, Collector, Warning};
use crate::encode::{Format, ScrapeResult};

/// The longest time that a request waits for two scrapes, unless deadlines are long: each scrape may take two.
const PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE_DEADLINES: u32 = 5;

/// The body in the format that was asked for, or why there is none; shared by all who asked for it.
pub(super) type Answer = Result<Bytes, Arc<AnswerError>>;

/// Why a request gets no stats.
#[derive(Debug)]
#[non_exhaustive]
pub(super) enum AnswerError {
    /// Nothing could be collected.
    Collect(CollectError),
    /// The result could not be encoded.
    Encode(io::Error),
    /// Scrapes take too long, or clients take their answers too slowly.
    TooSlow {
        /// How long the request waited.
        patience: Duration,
    },
    /// Something panicked.
    Panicked(Panicked),
    /// The collector's thread ended.
    Ended,
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Collect(err) => write!(f, "nothing was collected: {err}"),
            Self::Encode(err) => {
                write!(f, "the sums cannot be encoded: {err}: report this to the makers of statvent-web")
            }
            Self::TooSlow { patience } => {
                write!(f, "no collection within {} s: look for what keeps the pipes busy", patience.as_secs())
            }
            Self::Panicked(panicked) => panicked.fmt(f),
            Self::Ended => f.write_str("the collector has ended: restart the service"),
        }
    }
}

impl core::error::Error for AnswerError {}

/// The way to the collector's thread, which ends when this is dropped.
pub(super) struct CollectorHandle {
    /// As many as there are connections at most: each waits for one answer at a time.
    requests: mpsc::UnboundedSender<Request>,
    patience: Duration,
}

struct Request {
    format: Format,
    reply: oneshot::Sender<Answer>,
}

impl CollectorHandle {
    /// Starts the collector's thread, which reports what goes wrong with single processes.
    pub(super) fn start(collector: Collector, reports: Reports, panics: Arc<Panics>) -> io::Result<Self> {
        let patience = PATIENCE.max(PATIENCE_DEADLINES * collector.deadline());
        let (requests, arriving) = mpsc::unbounded_channel();
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let budget = MemoryBudget::default();
        let thread = CollectorThread { collector, reports, panics, budget, requests: arriving };
        let run = move || runtime.block_on(thread.run());
        thread::Builder::new().name("collector".to_owned()).spawn(run)?;
        Ok(Self { requests, patience })
    }

    /// Waits for a scrape that begins from now on.
    pub(super) async fn ask(&self, format: Format) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request { format, reply }).map_err(|_| AnswerError::Ended)?;
        match timeout(self.patience, answer).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(AnswerError::Ended.into())),
            Err(_) => Err(AnswerError::TooSlow { patience: self.patience }.into()),
        }
    }
}

struct CollectorThread {
    collector: Collector,
    reports: Reports,
    panics: Arc<Panics>,
    budget: MemoryBudget,
    requests: mpsc::UnboundedReceiver<Request>,
}

impl CollectorThread {
    async fn run(mut self) {
        let panics = Arc::clone(&self.panics);
        while let Some(mut waiting) = self.next_requests().await {
            // Clients that left need no scrape.
            waiting.retain(|request| !request.reply.is_closed());
            if waiting.is_empty() {
                continue;
            }
            let err = match panics.guard(self.answer(&mut waiting)).await {
                Ok(Ok(())) => continue,
                Ok(Err(err)) => Arc::new(err),
                Err(panicked) => {
                    // What it knows of the processes may be half changed.
                    self.collector = self.collector.fresh();
                    Arc::new(AnswerError::Panicked(panicked))
                }
            };
            for request in waiting {
                let _ = request.reply.send(Err(Arc::clone(&err)));
            }
        }
    }

    /// Listens to late processes until requests arrive, and takes all there are; `None` when no more can come.
    async fn next_requests(&mut self) -> Option<Vec<Request>> {
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

    /// Scrapes once, encodes each format that is waited for once, and takes out the requests that it answered.
    async fn answer(&mut self, waiting: &mut Vec<Request>) -> Result<(), AnswerError> {
        let collection = match self.collector.collect().await {
            Ok(collection) => collection,
            Err(err) => {
                self.reports.take(&[Warning::for_directory(self.collector.path(), &err)], Instant::now());
                return Err(AnswerError::Collect(err));
            }
        };
        self.reports.take(&collection.warnings, Instant::now());
        let sums = aggregate(collection.snapshots.iter().map(|(_, reading)| *reading));
        let result = ScrapeResult { collection, sums, timestamp_seconds: seconds_since_1970() };
        while let Some(format) = waiting.last().map(|request| request.format) {
            let body = self.budget.fill(|| format.encode(&result)).await;
            let answer = body.map_err(|err| Arc::new(AnswerError::Encode(err)));
            // Sent before the next format is encoded, which may need the room of this body.
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

#[cfg(test)]
mod tests {
    use super::*;
    use statvent_posix::dir::DirError;

    #[test]
    fn messages_say_what_was_found_and_what_to_do() {
        let dir = DirError::WritableByOthers { path: "/run/pipes".into(), mode: 0o777 };
        let cases = [
            (
                AnswerError::Collect(CollectError::Directory(dir)),
                "nothing was collected: pipe directory /run/pipes has mode 0777, in which others may replace pipes: \
                 `chmod 755 /run/pipes` if only its owner publishes there, `chmod 1777 /run/pipes` if several \
                 users do",
            ),
            (
                AnswerError::Encode(io::Error::other("why")),
                "the sums cannot be encoded: why: report this to the makers of statvent-web",
            ),
            (
                AnswerError::TooSlow { patience: PATIENCE },
                "no collection within 60 s: look for what keeps the pipes busy",
            ),
            (AnswerError::Ended, "the collector has ended: restart the service"),
        ];
        for (err, message) in cases {
            assert_eq!(err.to_string(), message);
        }
    }
}
