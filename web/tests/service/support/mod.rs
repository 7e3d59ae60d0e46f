//! Shared test helpers: a service in this process, an HTTP client, writers, and waiting.

mod client;
mod legacy_writer;
mod lock_bytes;
mod process;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::thread::{JoinHandle, park_timeout, spawn};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use statvent_web::serve::{Config, Service};
use tempfile::TempDir;
use tokio::net::TcpSocket;
use tokio::sync::oneshot;

pub(crate) use client::{Client, Reply, connect};
pub(crate) use legacy_writer::{LegacyWriter, make_fifo};
pub(crate) use lock_bytes::{FREE_PID, LockBytes};
pub(crate) use process::{Program, UNPRIVILEGED_UID, serve_args};

/// The longest wait of any test: only a fault reaches it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The process deadline if no process is silent: only a fault reaches it, even on a busy machine.
pub(crate) const LONG_DEADLINE: Duration = Duration::from_secs(30);

/// The client deadline if no client may be disconnected: longer than any test waits.
pub(crate) const NO_CLIENT_DEADLINE: Duration = Duration::from_secs(600);

/// Waits until a condition holds; panics with `what` after [`DEADLINE`].
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < until, "waited {DEADLINE:?} for: {what}");
        park_timeout(Duration::from_millis(1));
    }
}

/// Runs work that must not wait for a time limit of the service: waiting would take at least `limit`.
pub(crate) fn in_less_than<T>(limit: Duration, what: &str, work: impl FnOnce() -> T) -> T {
    let begun_at = Instant::now();
    let done = work();
    assert!(
        begun_at.elapsed() < limit,
        "{what}: took {:?}, expected less than {limit:?}",
        begun_at.elapsed()
    );
    done
}

/// Lets time pass to check that nothing happens.
pub(crate) fn observe_for(time: Duration) {
    std::thread::sleep(time);
}

/// A pipe directory that is removed at the end of the test.
pub(crate) fn pipe_dir() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    set_mode(dir.path(), 0o755);
    dir
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Returns the pipe name of a writer in this process whose lock byte stays free; `n` tells writers apart.
pub(crate) fn unlocked_name(n: u16) -> String {
    format!("{}-{}.stats", std::process::id(), 60_000 + n)
}

/// Raises the descriptor limit to the hard limit: tests with hundreds of connections run in parallel.
fn raise_descriptor_limit() {
    static RAISED: Once = Once::new();
    RAISED.call_once(|| {
        let (_, hard_limit) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, hard_limit, hard_limit).unwrap();
    });
}

/// Returns a listener whose connections have this send buffer size.
pub(crate) fn listener_with_send_buffer(n_bytes: u32) -> TcpListener {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(n_bytes).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        socket.listen(256).unwrap().into_std().unwrap()
    })
}

/// Returns the configuration of a service in this process, with [`LONG_DEADLINE`] for processes.
pub(crate) fn config(pipe_dir: &Path, client_deadline: Duration) -> Config {
    Config {
        pipe_dir: PathBuf::from(pipe_dir),
        deadline: LONG_DEADLINE,
        client_deadline,
        ..Config::default()
    }
}

/// A service in a thread of this process; stopped when dropped.
pub(crate) struct Server {
    client: Client,
    shutdown: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves the directory, with deadlines that no test reaches.
    pub(crate) fn start(pipe_dir: &Path) -> Self {
        Self::start_with_deadline(pipe_dir, LONG_DEADLINE)
    }

    /// Serves the directory, with a process deadline.
    pub(crate) fn start_with_deadline(pipe_dir: &Path, deadline: Duration) -> Self {
        let config = Config { deadline, ..config(pipe_dir, NO_CLIENT_DEADLINE) };
        Self::start_with(config, TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// Serves the directory, with a client deadline.
    pub(crate) fn start_with_client_deadline(pipe_dir: &Path, client_deadline: Duration) -> Self {
        Self::start_with(config(pipe_dir, client_deadline), TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub(crate) fn start_with(config: Config, listener: TcpListener) -> Self {
        raise_descriptor_limit();
        Self::serve(Service::start(config).unwrap(), listener)
    }

    pub(crate) fn serve(service: Service, listener: TcpListener) -> Self {
        let client = Client::new(listener.local_addr().unwrap());
        let (shutdown, shutdown_rx) = oneshot::channel::<()>();
        let thread = spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let shutdown = async { shutdown_rx.await.unwrap_or_default() };
            runtime.block_on(service.serve(listener, shutdown)).unwrap();
        });
        Self { client, shutdown: Some(shutdown), thread: Some(thread) }
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Shuts the service down and waits for its end.
    pub(crate) fn shut_down(mut self) {
        drop(self.shutdown.take());
        eventually("the service to shut down", || self.thread.as_ref().is_none_or(JoinHandle::is_finished));
    }

    /// Sends `GET /stats`.
    pub(crate) fn stats(&self) -> Reply {
        self.client.get("/stats")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.shutdown.take());
        let ended = self.thread.take().is_none_or(|thread| thread.join().is_ok());
        assert!(ended || std::thread::panicking(), "the service panicked");
    }
}
