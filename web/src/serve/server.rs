//! The service: accepts connections within a limit, and drains them at shutdown.
//!
//! Owns accepting and draining; `connection` serves each connection. A connection is accepted only when there is a free
//! permit for it. Until then it waits in the listener's queue. `connection` closes a connection that sends nothing or does
//! not receive its answer, so each permit is returned within a bounded time.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use statvent_posix::PipeDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::collector_thread::CollectorHandle;
use super::connection::ConnConfig;
use super::error::ServeError;
use super::panics::Panics;
use super::routes::Routes;
use super::warning_filter::WarningFilter;
use crate::collect::{Collector, Warning};
use crate::fd_budget::FdBudget;
use crate::limits::{
    DEFAULT_CLIENT_DEADLINE, DEFAULT_DEADLINE, DRAIN_DEADLINE, FIRST_ACCEPT_PAUSE, MAX_ACCEPT_PAUSE,
};

/// The settings of a service.
#[derive(Clone, Debug)]
pub struct Config {
    /// The path of the stats; begins with a slash.
    pub stats_path: String,
    /// The pipe directory.
    pub pipe_dir: PathBuf,
    /// How long a process may take to answer.
    pub deadline: Duration,
    /// How long a client may take from connecting, or from the moment its answer is ready, to its next request.
    ///
    /// This includes the time to receive the answer and to send the request. After that, its connection is closed.
    pub client_deadline: Duration,
    /// The users whose pipes are read; empty for all users.
    pub allowed_uids: Vec<u32>,
}

impl Default for Config {
    /// `/stats`, the default directory of recorders, 1 s for a process, 5 s for a client, and all users.
    fn default() -> Self {
        Self {
            stats_path: "/stats".to_owned(),
            pipe_dir: PipeDir::default_path(),
            deadline: DEFAULT_DEADLINE,
            client_deadline: DEFAULT_CLIENT_DEADLINE,
            allowed_uids: Vec::new(),
        }
    }
}

/// A service that is ready to serve: its directory is checked and its collector runs.
pub struct Service {
    connections: ConnConfig,
}

impl Service {
    /// Checks the directory and starts the collector's thread. The directory may be missing.
    ///
    /// # Errors
    /// The directory cannot be used, or the system provides no thread or no descriptor.
    pub fn start(config: Config) -> Result<Self, ServeError> {
        Self::start_reporting(config, |_| {})
    }

    /// Like [`start`](Self::start), and calls `on_warning` for each process whose stats are missing or incomplete.
    ///
    /// A warning is passed on when it appears, and again only after it was absent for a minute. The collector's thread calls
    /// `on_warning` between a scrape and its answers, so it must not block.
    ///
    /// # Errors
    /// Those of [`start`](Self::start).
    ///
    /// ```
    /// use statvent_web::serve::{Config, Service};
    ///
    /// let service = Service::start_reporting(Config::default(), |warning| eprintln!("{warning}"))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start_reporting(
        config: Config,
        on_warning: impl FnMut(&Warning) + Send + 'static,
    ) -> Result<Self, ServeError> {
        let Config { stats_path, pipe_dir, deadline, client_deadline, allowed_uids } = config;
        let collector = Collector::new(pipe_dir, deadline).allow_uids(allowed_uids);
        collector.check_directory().map_err(ServeError::Directory)?;
        let panics = Arc::new(Panics::default());
        let collector =
            CollectorHandle::start(collector, WarningFilter::new(on_warning), Arc::clone(&panics))
                .map_err(ServeError::Collector)?;
        let permits = Arc::new(Semaphore::new(FdBudget::from_system().n_connections));
        let routes = Arc::new(Routes { stats_path, collector, panics });
        Ok(Self { connections: ConnConfig { routes, client_deadline, permits } })
    }

    /// Serves until `shutdown` is ready, then waits up to 5 s for requests in flight.
    ///
    /// Needs a tokio runtime with I/O and time. If the listener is bound to a loopback address, a request must name a
    /// loopback host; otherwise it may name any host.
    ///
    /// # Errors
    /// The listener cannot be used. An error of one connection ends only that connection.
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
                accepted = accept(&listener, &self.connections.permits) => accepted,
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
        // Dropping the tasks closes connections that are still open after that.
        let _ = timeout(DRAIN_DEADLINE, graceful.shutdown()).await;
        Ok(())
    }

    /// Answers requests on one open stream of any kind, until the client closes it or misses its deadline.
    ///
    /// If `served_on` is a loopback address, a request must name a loopback host; otherwise it may name any host. Needs a
    /// tokio runtime with time.
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

/// Waits for a permit, then for a connection.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // `acquire_owned` fails only if the semaphore is closed, and this one never is.
    let permit = Arc::clone(permits).acquire_owned().await.ok();
    let mut pause = FIRST_ACCEPT_PAUSE;
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            // Answers are written whole, so there is nothing to coalesce. Without this option they are only slower.
            let _ = stream.set_nodelay(true);
            return (stream, permit);
        }
        // Probably out of descriptors: some are returned when connections end.
        sleep(pause).await;
        pause = (pause * 2).min(MAX_ACCEPT_PAUSE);
    }
}
