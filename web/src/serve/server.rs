//! Accepts connections, within limits, and lets them finish.
//!
//! Owns connections from accepted to closed: how many, how long, and draining at the end. It knows no path (see
//! `routes`). Called by the binary, which gives it a listener and a future that ends it.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use statvent_posix::dir::PipeDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::answers::Answers;
use super::race::{First, race};
use super::reports::Reports;
use super::routes::Routes;
use super::write_deadline::WriteDeadline;
use crate::collect::{CollectError, Collector, Trouble};

/// The most connections at a time; others wait in the listener's queue.
const MAX_CONNECTIONS: u32 = 256;
/// How long a client may take to send a request, or send none on an open connection.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);
/// How long a connection lives before it is asked to end, so that nobody keeps a place for ever.
const CONNECTION_LIFE: Duration = Duration::from_secs(300);
/// How long a connection that was asked to end may take, its last answer included.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);
/// The memory for the head of a request.
const MAX_HEAD_BYTES: usize = 16 << 10;
const FIRST_ACCEPT_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// What a service serves.
#[derive(Clone, Debug)]
pub struct Config {
    /// The path of the stats, beginning with a slash.
    pub stats_path: String,
    /// The directory of the pipes.
    pub pipe_dir: PathBuf,
    /// How long a process may take to answer.
    pub deadline: Duration,
    /// How long a client may take to take an answer; its connection is ended then.
    pub answer_deadline: Duration,
}

impl Default for Config {
    /// `/stats`, the directory that recorders use by default, one second for a process and ten for a client.
    fn default() -> Self {
        Self {
            stats_path: "/stats".to_owned(),
            pipe_dir: PipeDir::default_path(),
            deadline: Duration::from_secs(1),
            answer_deadline: Duration::from_secs(10),
        }
    }
}

/// Why a service does not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// The pipe directory cannot be used.
    Directory(CollectError),
    /// The system gives no thread or no descriptor to the collector.
    Collector(io::Error),
    /// The listener cannot be used.
    Listener(io::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(err) => err.fmt(f),
            Self::Collector(_) => f.write_str("the collector cannot start: raise the limits of this user"),
            Self::Listener(_) => f.write_str("the listener cannot be used: expected a bound TCP socket"),
        }
    }
}

impl core::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Directory(err) => err.source(),
            Self::Collector(err) | Self::Listener(err) => Some(err),
        }
    }
}

/// A service that is ready: its directory was checked and its collector runs.
pub struct Service {
    stats_path: String,
    answer_deadline: Duration,
    answers: Answers,
}

impl Service {
    /// Checks the directory, which may be missing as yet, and starts the collector's thread.
    ///
    /// # Errors
    /// The directory may not be used, or the system gives no thread.
    pub fn start(config: Config) -> Result<Self, ServeError> {
        Self::start_reporting(config, |_| {})
    }

    /// Does as [`start`](Self::start) and calls `on_trouble` for each process whose stats cannot be read, or not all
    /// of them: when that is seen first, and again only after a collection without it.
    ///
    /// It is called by the collector's thread, between collecting and answering: it must not wait.
    ///
    /// # Errors
    /// Those of [`start`](Self::start).
    ///
    /// ```
    /// use statvent_web::serve::{Config, Service};
    ///
    /// let service = Service::start_reporting(Config::default(), |trouble| eprintln!("{trouble}"))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start_reporting(
        config: Config,
        on_trouble: impl FnMut(&Trouble) + Send + 'static,
    ) -> Result<Self, ServeError> {
        let collector = Collector::new(config.pipe_dir, config.deadline);
        collector.check().map_err(ServeError::Directory)?;
        let answers = Answers::start(collector, Reports::new(on_trouble)).map_err(ServeError::Collector)?;
        Ok(Self { stats_path: config.stats_path, answer_deadline: config.answer_deadline, answers })
    }

    /// Serves until `shutdown` is ready, then lets requests in flight finish, for 5 s at most.
    ///
    /// Needs a tokio runtime with I/O and time. Requests may name any host if the listener is bound to other than
    /// a loopback address.
    ///
    /// # Errors
    /// The listener cannot be used. What goes wrong with one connection ends that one alone.
    pub async fn serve(
        self,
        listener: StdListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServeError> {
        let (listener, address) = adopt(listener).map_err(ServeError::Listener)?;
        let Self { stats_path, answer_deadline, answers } = self;
        let routes = Arc::new(Routes { stats_path, served_on: address.ip(), answers });
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS as usize));
        let (stop, stopped) = watch::channel(());
        let mut shutdown = pin!(shutdown);
        loop {
            let next = pin!(accept(&listener, &places));
            let First::Right(accepted) = race(shutdown.as_mut(), next).await else { break };
            tokio::spawn(accepted.serve(Arc::clone(&routes), answer_deadline, stopped.clone()));
        }
        drop(listener);
        drop(stop);
        // All places are free once all connections are closed. Those that are not by then are cut off.
        let _ = timeout(DRAIN_DEADLINE, places.acquire_many(MAX_CONNECTIONS)).await;
        Ok(())
    }
}

fn adopt(listener: StdListener) -> io::Result<(TcpListener, SocketAddr)> {
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((TcpListener::from_std(listener)?, address))
}

/// Waits for a place, then for a connection.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> Accepted {
    // The semaphore is never closed; without a place the connection is served all the same.
    let place = Arc::clone(places).acquire_owned().await.ok();
    let mut pause = FIRST_ACCEPT_PAUSE;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Accepted { stream, _place: place },
            // Out of descriptors, most likely: some come back when connections end.
            Err(_) => sleep(pause).await,
        }
        pause = (pause * 2).min(LONGEST_ACCEPT_PAUSE);
    }
}

struct Accepted {
    stream: TcpStream,
    _place: Option<OwnedSemaphorePermit>,
}

impl Accepted {
    /// Answers requests until the client has no more, it takes too long, or `stopped` is closed.
    async fn serve(self, routes: Arc<Routes>, answer_deadline: Duration, mut stopped: watch::Receiver<()>) {
        // Answers are written whole; where this is refused they are only slower.
        let _ = self.stream.set_nodelay(true);
        let service = service_fn(|request| {
            let routes = Arc::clone(&routes);
            async move { Ok::<_, Infallible>(routes.answer(&request).await) }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(REQUEST_DEADLINE).max_buf_size(MAX_HEAD_BYTES);
        let stream = WriteDeadline::new(TokioIo::new(self.stream), answer_deadline);
        let mut connection = pin!(builder.serve_connection(stream, service));
        let end = pin!(timeout(CONNECTION_LIFE, stopped.changed()));
        if let First::Right(_) = race(connection.as_mut(), end).await {
            connection.as_mut().graceful_shutdown();
            // What a client does to its own connection concerns nobody else.
            let _ = timeout(DRAIN_DEADLINE, connection).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statvent_posix::dir::DirError;
    use std::io::ErrorKind;

    #[test]
    fn messages_say_what_was_found_and_what_to_do() {
        let dir = DirError::WritableByOthers { path: "/run/pipes".into(), mode: 0o777 };
        let cases = [
            (
                ServeError::Directory(CollectError::Directory(dir)),
                "pipe directory /run/pipes has mode 0777, in which others may replace pipes: `chmod 755 /run/pipes` \
                 if its owner alone publishes there, `chmod 1777 /run/pipes` if several users do",
            ),
            (
                ServeError::Collector(ErrorKind::OutOfMemory.into()),
                "the collector cannot start: raise the limits of this user",
            ),
            (
                ServeError::Listener(ErrorKind::InvalidInput.into()),
                "the listener cannot be used: expected a bound TCP socket",
            ),
        ];
        for (err, message) in cases {
            assert_eq!(err.to_string(), message);
        }
    }
}
