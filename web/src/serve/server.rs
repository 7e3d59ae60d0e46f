//! Accepts connections, within limits, and lets them finish.
//!
//! Owns accepting, the limit of connections, and draining at the end. What happens on each of them is in `connection`.
//!
//! No connection is accepted before there is room for it: until then it waits in the listener's queue. A connection
//! that sends nothing, or does not take its answer, keeps its room for a few seconds only.

use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use statvent_posix::dir::PipeDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::answers::CollectorHandle;
use super::connection::ConnConfig;
use super::panics::Panics;
use super::reports::Reports;
use super::routes::Routes;
use crate::collect::{CollectError, Collector, Warning};
use crate::descriptors::Descriptors;

/// How long connections may take once the service is to end, their last answers included.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);
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
    /// How long a client may take from connecting, or from the moment its answer is ready, to its next request: to take
    /// the answer, to be silent, and to send the request. Its connection is closed then.
    pub client_deadline: Duration,
    /// The users whose pipes are read; all users if there is none.
    pub allowed_uids: Vec<u32>,
}

impl Default for Config {
    /// `/stats`, the directory that recorders use by default, one second for a process, five for a client, all users.
    fn default() -> Self {
        Self {
            stats_path: "/stats".to_owned(),
            pipe_dir: PipeDir::default_path(),
            deadline: Duration::from_secs(1),
            client_deadline: Duration::from_secs(5),
            allowed_uids: Vec::new(),
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
    connections: ConnConfig,
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
    /// of them: when that is seen first, and again only after a minute without it.
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
        on_trouble: impl FnMut(&Warning) + Send + 'static,
    ) -> Result<Self, ServeError> {
        let Config { stats_path, pipe_dir, deadline, client_deadline, allowed_uids } = config;
        let collector = Collector::new(pipe_dir, deadline).allow_uids(allowed_uids);
        collector.check().map_err(ServeError::Directory)?;
        let panics = Arc::new(Panics::default());
        let collector = CollectorHandle::start(collector, Reports::new(on_trouble), Arc::clone(&panics))
            .map_err(ServeError::Collector)?;
        let free = Arc::new(Semaphore::new(Descriptors::available().n_connections));
        let routes = Arc::new(Routes { stats_path, collector, panics });
        Ok(Self { connections: ConnConfig { routes, client_deadline, free } })
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
        let (listener, address) = into_tokio(listener).map_err(ServeError::Listener)?;
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            let (stream, permit) = select! {
                biased;
                () = &mut shutdown => break,
                accepted = accept(&listener, &self.connections.free) => accepted,
            };
            let served =
                self.connections.clone().serve(address.ip(), TokioIo::new(stream), graceful.watcher());
            connections.spawn(async {
                served.await;
                drop(permit);
            });
            while connections.try_join_next().is_some() {}
        }
        drop(listener);
        // Those that are open after that are closed when their tasks are dropped.
        let _ = timeout(DRAIN_DEADLINE, graceful.shutdown()).await;
        Ok(())
    }

    /// Answers the requests that come in on a stream that is open already, until the client has no more.
    ///
    /// For a stream of another kind than TCP. `served_on` says who may ask: a loopback address is for requests that
    /// name loopback as their host, any other one for all. Needs a tokio runtime with time.
    pub async fn serve_stream(&self, stream: impl Read + Write + Unpin + 'static, served_on: IpAddr) {
        let graceful = GracefulShutdown::new();
        self.connections.clone().serve(served_on, stream, graceful.watcher()).await;
    }
}

fn into_tokio(listener: StdListener) -> io::Result<(TcpListener, SocketAddr)> {
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((TcpListener::from_std(listener)?, address))
}

/// Waits until there is room for a connection, then for the connection.
async fn accept(listener: &TcpListener, free: &Arc<Semaphore>) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // An error would mean that the semaphore was closed, which it never is.
    let permit = Arc::clone(free).acquire_owned().await.ok();
    let mut pause = FIRST_ACCEPT_PAUSE;
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            // Answers are written whole; where this is refused they are only slower.
            let _ = stream.set_nodelay(true);
            return (stream, permit);
        }
        // Out of descriptors, most likely: some come back when connections end.
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_ACCEPT_PAUSE);
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
                 if only its owner publishes there, `chmod 1777 /run/pipes` if several users do",
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
