//! A writer that publishes like the original Python library: open, write, close, unlink, mkfifo, repeat.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

const FIFO_MODE: Mode = Mode::from_bits_truncate(0o644);

/// A pause between unlink and mkfifo that makes an answer inconclusive. A service searches 63 ms for an unknown writer and
/// 100 ms for a known one; half of the shorter time leaves room for scheduling.
const LONG_GAP: Duration = Duration::from_millis(30);

/// The writers of this process whose pipe is unlinked now, with the time of the unlink; and when the last gap longer than
/// [`LONG_GAP`] ended.
static UNLINKED: Mutex<(BTreeMap<PathBuf, Instant>, Option<Instant>)> = Mutex::new((BTreeMap::new(), None));

pub(crate) fn make_fifo(path: &Path) {
    mkfifo(path, FIFO_MODE).unwrap();
}

/// A thread that publishes like the original library; stopped when dropped.
pub(crate) struct LegacyWriter {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    n_rounds: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl LegacyWriter {
    /// Writes the same lines for every reader.
    pub(crate) fn start(dir: &Path, name: &str, lines: impl Into<Vec<u8>>) -> Self {
        let lines = lines.into();
        Self::start_with(dir, name, move || lines.clone())
    }

    /// Writes what `next_lines` returns. It is called when a reader has opened the pipe, and may block.
    pub(crate) fn start_with(
        dir: &Path,
        name: &str,
        mut next_lines: impl FnMut() -> Vec<u8> + Send + 'static,
    ) -> Self {
        let path = dir.join(name);
        make_fifo(&path);
        let stop = Arc::new(AtomicBool::new(false));
        let n_rounds = Arc::new(AtomicUsize::new(0));
        let thread = spawn({
            let (path, stop, n_rounds) = (path.clone(), Arc::clone(&stop), Arc::clone(&n_rounds));
            move || {
                while let Ok(mut pipe) = OpenOptions::new().write(true).open(&path) {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    n_rounds.fetch_add(1, Ordering::SeqCst);
                    // Fails if the reader leaves early.
                    let _ = pipe.write_all(&next_lines());
                    drop(pipe);
                    replace(&path);
                }
            }
        });
        Self { path, stop, n_rounds, thread: Some(thread) }
    }

    /// Returns whether the pipe of any writer was unlinked for longer than [`LONG_GAP`] at some moment since then.
    pub(crate) fn any_was_unlinked_for_long(since: Instant) -> bool {
        let (unlinked, last_gap_end) = &*UNLINKED.lock().unwrap();
        *last_gap_end > Some(since) || unlinked.values().any(|since| since.elapsed() > LONG_GAP)
    }

    /// Returns how many readers have opened the pipe.
    pub(crate) fn n_rounds(&self) -> usize {
        self.n_rounds.load(Ordering::SeqCst)
    }
}

/// Replaces the pipe as the original library does: unlink, then mkfifo.
fn replace(path: &Path) {
    let since = Instant::now();
    UNLINKED.lock().unwrap().0.insert(path.to_owned(), since);
    let _ = std::fs::remove_file(path);
    let made = mkfifo(path, FIFO_MODE);
    {
        let (unlinked, last_gap_end) = &mut *UNLINKED.lock().unwrap();
        unlinked.remove(path);
        if since.elapsed() > LONG_GAP {
            *last_gap_end = Some(Instant::now());
        }
    }
    made.unwrap();
}

impl Drop for LegacyWriter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let thread = self.thread.take().unwrap();
        super::eventually("the legacy writer to stop", || {
            // A reader unblocks the writer's open. Fails while the pipe is unlinked: try again.
            let flags = OFlag::O_NONBLOCK.bits();
            let _reader = OpenOptions::new().read(true).custom_flags(flags).open(&self.path);
            thread.is_finished()
        });
        let _ = std::fs::remove_file(&self.path);
        assert!(thread.join().is_ok() || std::thread::panicking(), "the legacy writer panicked");
    }
}
