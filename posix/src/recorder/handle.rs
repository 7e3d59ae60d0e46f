//! Handle of a running recorder: its path, its counts, and its end.
//!
//! Owns the threads and the order in which they stop. Reads are served in `serve_loop`.

use crate::error::Error;
use crate::limits::MAX_WAKE_ATTEMPTS;
use crate::recorder::endpoint::Endpoint;
use crate::recorder::serve_loop::ReaderCounts;
use crate::sys::backoff::BackOff;
use crate::sys::shutdown::ShutdownEvent;
use crate::sys::thread::Thread;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::{mem, thread};

/// Publishes a registry until it is dropped.
///
/// Dropping it removes the pipe, and stops and joins the threads. This is immediate, even during a write to a reader that
/// hangs. If the process ends first, the pipe is removed too: at `exit`, at the end of `main`, and at SIGTERM or SIGINT with
/// their default action. In a forked child, a copy of the handle has no effect.
#[derive(Debug)]
#[must_use = "dropping it ends publishing at once"]
pub struct Recorder {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) shutdown: Arc<ShutdownEvent>,
    pub(crate) counts: Arc<ReaderCounts>,
    pub(crate) threads: Vec<Thread>,
}

impl Recorder {
    pub(crate) fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        self.threads.push(Thread::spawn(name, work).map_err(|source| Error::System { source })?);
        Ok(())
    }

    /// Returns the path of the current pipe, or of the last one while no pipe is published.
    ///
    /// It can change if another process takes the name, or if the directory is replaced.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.endpoint.path()
    }

    /// Returns the number of readers that received a whole snapshot.
    #[must_use]
    pub fn n_served(&self) -> u64 {
        self.counts.served.load(Ordering::Relaxed)
    }

    /// Returns the number of readers that received no snapshot or only a part, because they left or were too slow.
    #[must_use]
    pub fn n_abandoned(&self) -> u64 {
        self.counts.abandoned.load(Ordering::Relaxed)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let threads = mem::take(&mut self.threads);
        if !self.endpoint.created_by_this_process() {
            // In a forked child the threads do not exist, and some descriptors are closed already, so that their numbers may
            // refer to other files.
            mem::forget((threads, Arc::clone(&self.endpoint)));
            return;
        }
        self.shutdown.signal();
        let mut back_off = BackOff::up_to(Duration::MAX);
        for _ in 0..MAX_WAKE_ATTEMPTS {
            if self.endpoint.close().is_ok() || threads.iter().all(Thread::is_finished) {
                threads.into_iter().for_each(Thread::join);
                // A reader that was about to open the pipe during the first call has opened it by now: release it.
                let _ = self.endpoint.close();
                return;
            }
            thread::park_timeout(back_off.next_delay());
        }
        // Waking the serving thread failed. It is not joined; it sleeps and does no harm.
    }
}
