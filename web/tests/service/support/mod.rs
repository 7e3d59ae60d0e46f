//! What the tests of the service share: a service in this process, an HTTP client, writers, and waiting.

mod client;
mod held;
mod legacy;
mod process;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::thread::{JoinHandle, park_timeout, spawn};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use statvent_web::serve::{Config, Service};
use tempfile::TempDir;
use tokio::sync::oneshot;

pub(crate) use client::{Client, Reply};
pub(crate) use held::{FREE_PID, HeldBytes};
pub(crate) use legacy::{Legacy, make_fifo};
pub(crate) use process::{ORDINARY_USER, Program, serving};

/// The longest time that a test waits for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The deadline of a service that has no silent process: on a busy machine only a fault reaches it.
pub(crate) const PATIENT: Duration = Duration::from_secs(30);

/// How long clients of a service may take that must not be disconnected: longer than any test waits.
pub(crate) const UNLIMITED: Duration = Duration::from_secs(600);

/// Waits until something holds, and says what it waited for if it does not come to hold.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < until, "waited {DEADLINE:?} for: {what}");
        park_timeout(Duration::from_millis(1));
    }
}

/// Does something that must not wait for a limit of the service, where doing so would take at least `limit`.
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

/// Lets time pass, to see that nothing happens meanwhile.
pub(crate) fn observe_for(time: Duration) {
    std::thread::sleep(time);
}

/// A directory for pipes that is gone with the test.
pub(crate) fn pipe_dir() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    set_mode(dir.path(), 0o755);
    dir
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A name for the pipe of a writer in this process that holds no byte; `n` tells writers apart.
pub(crate) fn unlocked_name(n: u16) -> String {
    format!("{}-{}.stats", std::process::id(), 60_000 + n)
}

/// Lets this process have as many descriptors as it may: many tests with hundreds of connections run side by side.
fn raise_descriptor_limit() {
    static RAISED: Once = Once::new();
    RAISED.call_once(|| {
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    });
}

/// What a service in this process serves; its clients may take so long for each thing that they do.
pub(crate) fn config(pipe_dir: &Path, client_deadline: Duration) -> Config {
    Config { pipe_dir: PathBuf::from(pipe_dir), deadline: PATIENT, client_deadline, ..Config::default() }
}

/// A service in a thread of this process; ends when dropped.
pub(crate) struct Server {
    client: Client,
    shutdown: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves the directory; waits for processes and clients as if there were no limits.
    pub(crate) fn start(pipe_dir: &Path) -> Self {
        Self::start_with_deadline(pipe_dir, PATIENT)
    }

    /// Gives each process so much time to answer.
    pub(crate) fn start_with_deadline(pipe_dir: &Path, deadline: Duration) -> Self {
        let config = Config { deadline, ..config(pipe_dir, UNLIMITED) };
        Self::start_with(config, TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// Gives clients so much time for each thing that they do.
    pub(crate) fn start_with_client_deadline(pipe_dir: &Path, client_deadline: Duration) -> Self {
        Self::start_with(config(pipe_dir, client_deadline), TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub(crate) fn start_with(config: Config, listener: TcpListener) -> Self {
        raise_descriptor_limit();
        Self::serve(Service::start(config).unwrap(), listener)
    }

    pub(crate) fn serve(service: Service, listener: TcpListener) -> Self {
        let client = Client::new(listener.local_addr().unwrap());
        let (shutdown, ended) = oneshot::channel::<()>();
        let thread = spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let ended = async { ended.await.unwrap_or_default() };
            runtime.block_on(service.serve(listener, ended)).unwrap();
        });
        Self { client, shutdown: Some(shutdown), thread: Some(thread) }
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Ends the service and waits until it has ended.
    pub(crate) fn end(mut self) {
        drop(self.shutdown.take());
        eventually("the service to end", || self.thread.as_ref().is_none_or(JoinHandle::is_finished));
    }

    /// Asks for the stats.
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
