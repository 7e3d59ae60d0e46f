//! A running recorder: where it publishes, what it did, and its end.
//!
//! Owns the threads and the order of stopping them. It serves nobody itself (see `recorder`). Held by users, and by
//! `start_once`.

use crate::builder::RecorderBuilder;
use crate::error::Error;
use crate::publication::Publication;
use crate::recorder::Counts;
use crate::stop::{BackOff, Stop};
use crate::thread::Thread;
use statvent_core::Reader;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::{mem, thread};

/// How often waking the thread is tried, for about a second altogether.
const MAX_WAKE_ATTEMPTS: usize = 7;

/// Publishes a registry until it is dropped.
///
/// Dropping it removes the pipe, stops the threads and joins them, at once, also in the middle of a write to a reader
/// that hangs. A process that ends without dropping it, by `exit`, by returning from `main`, or by SIGTERM or SIGINT where
/// these are at their default, removes the pipe as well. In a forked child it is without effect.
#[derive(Debug)]
#[must_use = "dropping it ends publishing at once"]
pub struct Recorder {
    pub(crate) publication: Arc<Publication>,
    pub(crate) stop: Arc<Stop>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) threads: Vec<Thread>,
}

impl Recorder {
    /// Begins to set up a recorder for a registry that lives as long as the program.
    pub fn builder(registry: impl Into<Reader<'static>>) -> RecorderBuilder {
        RecorderBuilder::new(registry.into())
    }

    pub(crate) fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        self.threads.push(Thread::spawn(name, work).map_err(|source| Error::System { source })?);
        Ok(())
    }

    /// Returns the path of the pipe: where it is now, or was last while upkeep has not mended it yet.
    ///
    /// It can change when somebody takes the name or the directory away.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.publication.path()
    }

    /// Returns how many readers were given a whole snapshot.
    #[must_use]
    pub fn n_served(&self) -> u64 {
        self.counts.served.load(Ordering::Relaxed)
    }

    /// Returns how many readers came and were not: they left, or were too slow.
    #[must_use]
    pub fn n_abandoned(&self) -> u64 {
        self.counts.abandoned.load(Ordering::Relaxed)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let threads = mem::take(&mut self.threads);
        if !self.publication.is_ours() {
            // The parent's threads do not exist here, and some of its descriptors are closed already, so that their numbers
            // may be other files' now.
            mem::forget((threads, Arc::clone(&self.publication)));
            return;
        }
        self.stop.set();
        let mut back_off = BackOff::up_to(Duration::MAX);
        for _ in 0..MAX_WAKE_ATTEMPTS {
            if self.publication.withdraw().is_ok() || threads.iter().all(Thread::is_finished) {
                threads.into_iter().for_each(Thread::join);
                // Who was about to open the pipe when it went has done so by now.
                let _ = self.publication.withdraw();
                return;
            }
            thread::park_timeout(back_off.rest());
        }
        // Not joined, because it sleeps and cannot be woken: it does no harm.
    }
}
