//! A writer in the original's manner: open for writing, write, close, unlink, mkfifo, and again.

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

/// A service looks for a legacy writer that has no name for 63 ms where it is new to it, else for 100 ms. A writer that
/// gets no processor for so long is missed, as it would be in the original.
const LONG_NAMELESS: Duration = Duration::from_millis(30);

/// The writers of this process that have no name at the moment, and since when; and when one got its name that had none
/// for long.
static NAMELESS: Mutex<(BTreeMap<PathBuf, Instant>, Option<Instant>)> = Mutex::new((BTreeMap::new(), None));

pub(crate) fn make_fifo(path: &Path) {
    mkfifo(path, FIFO_MODE).unwrap();
}

/// A thread that publishes as the original does; ends when dropped.
pub(crate) struct Legacy {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    n_rounds: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Legacy {
    /// Writes the same lines to every reader.
    pub(crate) fn start(dir: &Path, name: &str, lines: impl Into<Vec<u8>>) -> Self {
        let lines = lines.into();
        Self::start_with(dir, name, move || lines.clone())
    }

    /// Writes to each reader what `say` returns, which is called once the reader is there and may wait.
    pub(crate) fn start_with(
        dir: &Path,
        name: &str,
        mut say: impl FnMut() -> Vec<u8> + Send + 'static,
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
                    // A reader that leaves early is its own loss.
                    let _ = pipe.write_all(&say());
                    drop(pipe);
                    replace(&path);
                }
            }
        });
        Self { path, stop, n_rounds, thread: Some(thread) }
    }

    /// Whether any writer of this process had no name for long at some moment since then.
    pub(crate) fn was_one_nameless(since: Instant) -> bool {
        let (nameless, last_long) = &*NAMELESS.lock().unwrap();
        *last_long > Some(since) || nameless.values().any(|since| since.elapsed() > LONG_NAMELESS)
    }

    /// How many readers came.
    pub(crate) fn n_rounds(&self) -> usize {
        self.n_rounds.load(Ordering::SeqCst)
    }
}

/// Replaces the pipe as the original does: for a moment there is none.
fn replace(path: &Path) {
    let since = Instant::now();
    NAMELESS.lock().unwrap().0.insert(path.to_owned(), since);
    let _ = std::fs::remove_file(path);
    let made = mkfifo(path, FIFO_MODE);
    {
        let (nameless, last_long) = &mut *NAMELESS.lock().unwrap();
        nameless.remove(path);
        if since.elapsed() > LONG_NAMELESS {
            *last_long = Some(Instant::now());
        }
    }
    made.unwrap();
}

impl Drop for Legacy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let thread = self.thread.take().unwrap();
        super::eventually("a legacy writer to end", || {
            // A reader that comes lets its open return; the name is missing for moments.
            let flags = OFlag::O_NONBLOCK.bits();
            let _reader = OpenOptions::new().read(true).custom_flags(flags).open(&self.path);
            thread.is_finished()
        });
        let _ = std::fs::remove_file(&self.path);
        assert!(thread.join().is_ok() || std::thread::panicking(), "the legacy writer panicked");
    }
}
