//! Readers that do not lock, such as `cat`: they may take part of a snapshot, and every answer stays complete.

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

/// The buffer size of `cat`.
const CAT_BYTES: usize = 128 << 10;
/// The longest read: `cat` would block forever on a pipe that was just replaced.
const READ_TIMEOUT: Duration = Duration::from_millis(20);

/// A thread that reads a pipe like `cat` in a loop; stopped when dropped.
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

/// Reads to the end of file; returns whether any byte was read.
fn read_once(path: &Path, buffer: &mut [u8]) -> bool {
    let until = Instant::now() + READ_TIMEOUT;
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

/// Reads available bytes; `None` if a writer has the pipe open and has not written more yet.
fn read(pipe: &mut File, buffer: &mut [u8]) -> Option<usize> {
    match pipe.read(buffer) {
        Ok(n_bytes) => Some(n_bytes),
        Err(err) if err.kind() == ErrorKind::WouldBlock => None,
        Err(err) => panic!("{err}"),
    }
}

#[test]
fn answers_are_complete_while_cat_reads_the_same_pipes() {
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
    // One read without `cat` beside it: from then on the service knows what each process publishes.
    let expected = server.stats();
    assert_eq!(expected.json()["stats"].as_object().unwrap().len(), 6001);
    let cats = [Cat::start(small.path()), Cat::start(large.path())];
    for request in 1..=50 {
        let reply = server.stats();
        let is_complete = reply.stats_text() == expected.stats_text();
        assert!(is_complete, "request {request}: {:?}, {} bytes", reply.counts(), reply.text.len());
    }
    for cat in &cats {
        eventually("the other reader to read something as well", || cat.n_reads.load(Ordering::SeqCst) > 0);
    }
}
