//! One collection for all who wait.
//!
//! Owns the collector's thread and the rule that an answer comes from a collection that began after its request
//! arrived: one is in flight, all who come meanwhile share the next. It knows nothing of HTTP. Called by `routes`.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use std::{fmt, io};

use bytes::Bytes;
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::body::{Bodies, Room};
use super::panics::{Panicked, Panics};
use super::reports::Reports;
use crate::aggregate::aggregate;
use crate::collect::{CollectError, Collection, Collector, Trouble};
use crate::encode::json::Json;

/// The most requests that wait at a time; more than there are connections.
const MAX_WAITING: usize = 1024;
/// The longest time that a request waits for two collections, unless deadlines are long: each collection may take two.
const PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE_DEADLINES: u32 = 5;
/// How long an answer waits for the memory of others, whose clients are disconnected before that.
const ROOM_PATIENCE: Duration = Duration::from_secs(20);

/// The stats as JSON, or why there are none; shared by all who waited.
pub(super) type Answer = Result<Bytes, Arc<AnswerError>>;

/// Why a request gets no stats.
#[derive(Debug)]
#[non_exhaustive]
pub(super) enum AnswerError {
    /// Nothing could be collected.
    Collect(CollectError),
    /// The sums could not be written.
    Encode(serde_json::Error),
    /// Too many requests wait already.
    Busy,
    /// Collections take too long.
    TooSlow {
        /// How long the request waited.
        patience: Duration,
    },
    /// Clients hold so much that they do not take that there is no memory for one more.
    Unread,
    /// Something panicked.
    Panicked(Panicked),
    /// The collector's thread ended.
    Ended,
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Collect(err) => write!(f, "nothing was collected: {err}"),
            Self::Encode(err) => write!(
                f,
                "the sums cannot be written as JSON: {err}: report this to the makers of statvent-web"
            ),
            Self::Busy => write!(f, "{MAX_WAITING} requests wait for a collection already: ask again later"),
            Self::TooSlow { patience } => {
                write!(f, "no collection within {} s: look for what keeps the pipes busy", patience.as_secs())
            }
            Self::Unread => write!(
                f,
                "there is no memory for an answer beside those that are being taken, {} bytes in all: ask again later",
                Bodies::MAX_BYTES
            ),
            Self::Panicked(panicked) => panicked.fmt(f),
            Self::Ended => f.write_str("the collector has ended: restart the service"),
        }
    }
}

impl core::error::Error for AnswerError {}

/// The way to the collector's thread, which ends when this is dropped.
pub(super) struct Answers {
    requests: Option<SyncSender<oneshot::Sender<Answer>>>,
    wake: Arc<EventFd>,
    patience: Duration,
}

impl Answers {
    /// Starts the collector's thread, which reports what goes wrong with single processes.
    pub(super) fn start(collector: Collector, reports: Reports, panics: Arc<Panics>) -> io::Result<Self> {
        let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        let (requests, arriving) = sync_channel(MAX_WAITING);
        let shelf = Shelf { bodies: Bodies::default(), n_bytes_last: 0 };
        let patience = PATIENCE.max(PATIENCE_DEADLINES * collector.deadline());
        let desk = Desk {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
            collector,
            reports,
            panics,
            shelf,
            arriving,
            wake: Arc::clone(&wake),
        };
        thread::Builder::new().name("collector".to_owned()).spawn(|| desk.run())?;
        Ok(Self { requests: Some(requests), wake, patience })
    }

    /// Waits for a collection that begins from now on.
    pub(super) async fn ask(&self) -> Answer {
        let (to_us, answer) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or(AnswerError::Ended)?;
        requests.try_send(to_us).map_err(|err| match err {
            TrySendError::Full(_) => AnswerError::Busy,
            TrySendError::Disconnected(_) => AnswerError::Ended,
        })?;
        self.wake();
        match timeout(self.patience, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(AnswerError::Ended.into()),
            Err(_) => Err(AnswerError::TooSlow { patience: self.patience }.into()),
        }
    }

    fn wake(&self) {
        // Fails only when as many wake-ups are waiting as fit, which is enough of them.
        let _ = self.wake.write(1);
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.requests = None;
        self.wake();
    }
}

/// The collector's thread.
struct Desk {
    runtime: tokio::runtime::Runtime,
    collector: Collector,
    reports: Reports,
    panics: Arc<Panics>,
    shelf: Shelf,
    arriving: Receiver<oneshot::Sender<Answer>>,
    wake: Arc<EventFd>,
}

impl Desk {
    fn run(mut self) {
        while let Some(waiting) = self.next_requests() {
            // Whoever left needs no collection.
            let waiting: Vec<_> = waiting.into_iter().filter(|request| !request.is_closed()).collect();
            if waiting.is_empty() {
                continue;
            }
            let answer = self.answer();
            for request in waiting {
                let _ = request.send(answer.clone());
            }
        }
    }

    /// Waits for requests and takes all there are; `None` when no more can come.
    fn next_requests(&mut self) -> Option<Vec<oneshot::Sender<Answer>>> {
        let mut waiting = Vec::new();
        if !self.rest() {
            // Without polling, late processes wait until somebody asks.
            waiting.push(self.arriving.recv().ok()?);
        }
        // Cleared before the requests are taken: one that comes later wakes again.
        let _ = self.wake.read();
        loop {
            match self.arriving.try_recv() {
                Ok(request) => waiting.push(request),
                Err(TryRecvError::Empty) => return Some(waiting),
                Err(TryRecvError::Disconnected) => return (!waiting.is_empty()).then_some(waiting),
            }
        }
    }

    /// Listens to late processes until somebody asks; `false` if that cannot be waited for.
    fn rest(&mut self) -> bool {
        let runtime = &self.runtime;
        loop {
            let _ =
                runtime.block_on(async { timeout(Duration::from_millis(5), self.collector.idle()).await });
            if self.wake.read().is_ok() {
                let _ = self.wake.write(1);
                return true;
            }
        }
    }

    fn answer(&mut self) -> Answer {
        let runtime = &self.runtime;
        let (collector, reports, shelf) = (&mut self.collector, &mut self.reports, &mut self.shelf);
        match self.panics.catch(|| answer(runtime, collector, reports, shelf)) {
            Ok(answer) => answer.map_err(Arc::new),
            Err(panicked) => {
                // What it knows of the processes may be half changed.
                self.collector = self.collector.fresh();
                Err(AnswerError::Panicked(panicked).into())
            }
        }
    }
}

/// Where bodies are put for clients to take.
struct Shelf {
    bodies: Bodies,
    /// How long the last one was.
    n_bytes_last: usize,
}

impl Shelf {
    /// Makes room for a body like the last one, before a collection takes its own memory.
    fn make_room(&self) -> Result<(), AnswerError> {
        self.reserve(self.n_bytes_last).map(drop)
    }

    /// Makes a body once there is room for it.
    fn put(&mut self, json: &Json<'_>) -> Result<Bytes, AnswerError> {
        self.n_bytes_last = json.n_bytes();
        let room = self.reserve(json.n_bytes())?;
        Ok(room.fill(json.write().map_err(AnswerError::Encode)?))
    }

    /// Waits for clients that take their answers or are disconnected.
    fn reserve(&self, n_bytes: usize) -> Result<Room, AnswerError> {
        self.bodies.reserve(n_bytes, ROOM_PATIENCE, || {}).ok_or(AnswerError::Unread)
    }
}

fn answer(
    runtime: &tokio::runtime::Runtime,
    collector: &mut Collector,
    reports: &mut Reports,
    shelf: &mut Shelf,
) -> Result<Bytes, AnswerError> {
    shelf.make_room()?;
    match runtime.block_on(collector.collect()) {
        Ok(Collection { snapshots, counts, troubles, .. }) => {
            reports.take(&troubles, Instant::now());
            let sums = aggregate(snapshots.into_iter().map(|(_, reading)| reading));
            let json = Json::measure(&sums, seconds_since_1970(), &counts).map_err(AnswerError::Encode)?;
            shelf.put(&json)
        }
        Err(err) => {
            reports.take(&[Trouble::of_directory(collector.path(), &err)], Instant::now());
            Err(AnswerError::Collect(err))
        }
    }
}

fn seconds_since_1970() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::ser::Error as _;
    use statvent_posix::dir::DirError;

    #[test]
    fn messages_say_what_was_found_and_what_to_do() {
        let dir = DirError::WritableByOthers { path: "/run/pipes".into(), mode: 0o777 };
        let cases = [
            (
                AnswerError::Collect(CollectError::Directory(dir)),
                "nothing was collected: pipe directory /run/pipes has mode 0777, in which others may replace pipes: \
                 `chmod 755 /run/pipes` if its owner alone publishes there, `chmod 1777 /run/pipes` if several \
                 users do",
            ),
            (
                AnswerError::Encode(serde_json::Error::custom("why")),
                "the sums cannot be written as JSON: why: report this to the makers of statvent-web",
            ),
            (AnswerError::Busy, "1024 requests wait for a collection already: ask again later"),
            (
                AnswerError::TooSlow { patience: PATIENCE },
                "no collection within 60 s: look for what keeps the pipes busy",
            ),
            (
                AnswerError::Unread,
                "there is no memory for an answer beside those that are being taken, 12582912 bytes in all: ask again later",
            ),
            (AnswerError::Ended, "the collector has ended: restart the service"),
        ];
        for (err, message) in cases {
            assert_eq!(err.to_string(), message);
        }
    }
}
