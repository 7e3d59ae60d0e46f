//! Readers that do not lock, `cat` for one, take parts of what a process says, or all of it: no answer shows that.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, spawn, yield_now};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use statvent_core::Registry;
use statvent_posix::Recorder;

use crate::support::{Server, eventually, pipe_dir};

/// What `cat` reads at a time.
const CAT_BYTES: usize = 128 << 10;
/// `cat` would wait for ever where it comes at the wrong moment.
const PATIENCE: Duration = Duration::from_millis(20);

/// A thread that reads a pipe as `cat` does, over and over; ends when dropped.
struct Cat {
    stop: Arc<AtomicBool>,
    n_reads: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Cat {
    fn start(path: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let n_reads = Arc::new(AtomicUsize::new(0));
        let thread = spawn({
            let (stop, n_reads) = (Arc::clone(&stop), Arc::clone(&n_reads));
            move || {
                let mut buffer = vec![0; CAT_BYTES];
                while !stop.load(Ordering::SeqCst) {
                    n_reads.fetch_add(usize::from(read_once(&path, &mut buffer)), Ordering::SeqCst);
                }
            }
        });
        Self { stop, n_reads, thread: Some(thread) }
    }
}

impl Drop for Cat {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking(), "the other reader panicked");
    }
}

/// Reads to the end; says whether there was anything.
fn read_once(path: &Path, buffer: &mut [u8]) -> bool {
    let until = Instant::now() + PATIENCE;
    let mut n_bytes = 0;
    let Ok(mut pipe) = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path) else {
        return false;
    };
    while Instant::now() < until {
        match read(&mut pipe, buffer) {
            Some(0) if n_bytes > 0 => break,
            Some(0) | None => yield_now(),
            Some(n) => n_bytes += n,
        }
    }
    n_bytes > 0
}

/// Reads what there is; `None` if a writer is there and has not said more yet.
fn read(pipe: &mut File, buffer: &mut [u8]) -> Option<usize> {
    match pipe.read(buffer) {
        Ok(n_bytes) => Some(n_bytes),
        Err(err) if err.kind() == ErrorKind::WouldBlock => None,
        Err(err) => panic!("{err}"),
    }
}

#[test]
fn answers_hold_all_stats_while_somebody_reads_the_same_pipes() {
    static SMALL: Registry<64, 1, 4096> = Registry::new();
    static LARGE: Registry<8192, 1, 262_144> = Registry::new();
    let dir = pipe_dir();
    SMALL.incr("hits", 1);
    for n in 0..6000 {
        LARGE.incr(format!("a.rather.long.name.of.a.stat.{n}"), 1_000_000 + n);
    }
    let small = Recorder::builder(&SMALL).directory(dir.path()).start().unwrap();
    let large = Recorder::builder(&LARGE).directory(dir.path()).start().unwrap();
    let server = Server::start(dir.path());
    // What a process has is known once it was read alone.
    let expected = server.stats();
    assert_eq!(expected.json()["stats"].as_object().unwrap().len(), 6001);
    let cats = [Cat::start(small.path()), Cat::start(large.path())];
    for request in 1..=50 {
        let reply = server.stats();
        let is_right = reply.stats_text() == expected.stats_text();
        assert!(is_right, "request {request}: {:?}, {} bytes", reply.counts(), reply.text.len());
    }
    for cat in &cats {
        eventually("the other reader to get something as well", || cat.n_reads.load(Ordering::SeqCst) > 0);
    }
}
