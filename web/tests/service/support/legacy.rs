//! A writer in the original's manner: open for writing, write, close, unlink, mkfifo, and again.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, spawn};

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

pub(crate) fn make_fifo(path: &Path) {
    nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o644)).unwrap();
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
                    let _ = std::fs::remove_file(&path);
                    make_fifo(&path);
                }
            }
        });
        Self { path, stop, n_rounds, thread: Some(thread) }
    }

    /// How many readers came.
    pub(crate) fn n_rounds(&self) -> usize {
        self.n_rounds.load(Ordering::SeqCst)
    }
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
