//! Accepts connections, within limits, and lets them finish.
//!
//! Owns accepting, how many connections there are, and draining at the end. What goes on in each is in `connection`.
//! Called by the binary, which gives it a listener and a future that ends it.

use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, io};

use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use statvent_posix::dir::PipeDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::answers::Answers;
use super::connection::{DRAIN_DEADLINE, Terms};
use super::panics::Panics;
use super::places::{Place, Places};
use super::race::{First, race};
use super::reports::Reports;
use super::routes::Routes;
use crate::collect::{CollectError, Collector, Trouble};
use crate::descriptors::Descriptors;

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
    /// How long a client may take to send a request, or send none on an open connection; that is ended then.
    pub request_deadline: Duration,
    /// How long a client may take to take an answer; its connection is ended then.
    pub answer_deadline: Duration,
    /// How long a connection is served before it is ended, after the answer at hand.
    pub connection_life: Duration,
    /// The users whose pipes are read; all users if there is none.
    pub allowed_uids: Vec<u32>,
}

impl Default for Config {
    /// `/stats`, the directory that recorders use by default, one second for a process, ten for each thing that a client
    /// does, five minutes for a connection, all users.
    fn default() -> Self {
        Self {
            stats_path: "/stats".to_owned(),
            pipe_dir: PipeDir::default_path(),
            deadline: Duration::from_secs(1),
            request_deadline: Duration::from_secs(10),
            answer_deadline: Duration::from_secs(10),
            connection_life: Duration::from_secs(300),
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
    routes: Arc<Routes>,
    places: Arc<Places>,
    request_deadline: Duration,
    answer_deadline: Duration,
    connection_life: Duration,
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
        on_trouble: impl FnMut(&Trouble) + Send + 'static,
    ) -> Result<Self, ServeError> {
        let Config {
            stats_path,
            pipe_dir,
            deadline,
            request_deadline,
            answer_deadline,
            connection_life,
            allowed_uids,
        } = config;
        let collector = Collector::new(pipe_dir, deadline).allow_uids(allowed_uids);
        collector.check().map_err(ServeError::Directory)?;
        let panics = Arc::new(Panics::default());
        let places = Arc::new(Places::new(Descriptors::available().n_connections));
        let reports = Reports::new(on_trouble);
        let answers = Answers::start(collector, reports, Arc::clone(&panics), Arc::clone(&places))
            .map_err(ServeError::Collector)?;
        Ok(Self {
            routes: Arc::new(Routes { stats_path, answers, panics }),
            places,
            request_deadline,
            answer_deadline,
            connection_life,
        })
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
        let (stop, stopped) = watch::channel(());
        let terms = self.terms(address.ip(), stopped);
        let places = Arc::clone(&self.places);
        let mut shutdown = pin!(shutdown);
        loop {
            let next = pin!(accept(&listener, &places));
            let First::Right(accepted) = race(shutdown.as_mut(), next).await else { break };
            tokio::spawn(accepted.serve(terms.clone()));
        }
        drop(listener);
        drop(stop);
        // All places are free once all connections are closed. Those that are not by then are cut off.
        let _ = timeout(DRAIN_DEADLINE, places.all_free()).await;
        Ok(())
    }

    /// Answers the requests that come in on a stream that is open already, until the client has no more.
    ///
    /// For a stream of another kind than TCP. `served_on` says who may ask: a loopback address is for requests that
    /// name loopback as their host, any other one for all. Needs a tokio runtime with time.
    pub async fn serve_stream(&self, stream: impl Read + Write + Unpin, served_on: IpAddr) {
        // Held, so that it does not close.
        let (_never, stopped) = watch::channel(());
        self.terms(served_on, stopped).serve(stream, Arc::default()).await;
    }

    fn terms(&self, served_on: IpAddr, stopped: watch::Receiver<()>) -> Terms {
        Terms {
            routes: Arc::clone(&self.routes),
            served_on,
            request_deadline: self.request_deadline,
            answer_deadline: self.answer_deadline,
            connection_life: self.connection_life,
            stopped,
        }
    }
}

fn adopt(listener: StdListener) -> io::Result<(TcpListener, SocketAddr)> {
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((TcpListener::from_std(listener)?, address))
}

/// Waits for a connection, then for its place.
async fn accept(listener: &TcpListener, places: &Arc<Places>) -> Accepted {
    let mut pause = FIRST_ACCEPT_PAUSE;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Accepted { stream, place: places.take().await },
            // Out of descriptors, most likely: some come back when connections end, as those do that are of no use.
            Err(_) => {
                places.evict_all_idle(Instant::now());
                sleep(pause).await;
            }
        }
        pause = (pause * 2).min(LONGEST_ACCEPT_PAUSE);
    }
}

struct Accepted {
    stream: TcpStream,
    place: Place,
}

impl Accepted {
    async fn serve(self, terms: Terms) {
        // Answers are written whole; where this is refused they are only slower.
        let _ = self.stream.set_nodelay(true);
        let seat = Arc::clone(self.place.seat());
        terms.serve(TokioIo::new(self.stream), seat).await;
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
