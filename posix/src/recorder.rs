//! The recorder's thread: waits for a reader, gives it a snapshot, and so on until it is told to stop.
//!
//! Owns the order of a read: a fresh pipe takes the name first, then the snapshot is taken, so that no pipe carries two
//! snapshots. It never makes a recording thread wait. Started by the builder.

use crate::publication::{Handover, Publication};
use crate::stop::{BackOff, Stop};
use crate::text::Text;
use crate::write::write_within;
use statvent_core::Reader;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often to look for a reader where nothing can wait for one.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// All that the thread works with.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) registry: Reader<'static>,
    pub(crate) publication: Arc<Publication>,
    pub(crate) stop: Arc<Stop>,
    pub(crate) write_deadline: Duration,
    pub(crate) counts: Arc<Counts>,
}

/// What a recorder did so far.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    // Plain statistics: nothing else is promised to who reads them.
    served: AtomicU64,
    abandoned: AtomicU64,
}

impl Counts {
    pub(crate) fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    pub(crate) fn abandoned(&self) -> u64 {
        self.abandoned.load(Ordering::Relaxed)
    }
}

impl Recording {
    /// Serves readers until it is said to stop.
    pub(crate) fn run(&self) {
        let mut text = Text::default();
        let mut back_off = BackOff::new();
        while !self.stop.is_set() {
            if self.serve_next(&mut text).is_some() {
                back_off = BackOff::new();
            } else {
                self.stop.wait(back_off.rest());
            }
        }
    }

    /// Waits for one reader and serves it; `None` if that is not possible now.
    fn serve_next(&self, text: &mut Text) -> Option<()> {
        let fifo = self.publication.await_next()?;
        let pipe = match fifo.wait_for_reader() {
            Ok(Some(pipe)) => pipe,
            Ok(None) => {
                self.stop.wait(LOOK_EVERY);
                return Some(());
            }
            Err(_) => {
                self.publication.mend();
                return None;
            }
        };
        match self.publication.hand_over(&fifo) {
            Handover::Outdated => return Some(()),
            Handover::Failed => {
                self.counts.abandoned.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            Handover::Fresh => {}
        }
        let text = text.of(self.registry.snapshot());
        let count = match write_within(&pipe, text, self.write_deadline, &self.stop) {
            Ok(()) => &self.counts.served,
            Err(_) => &self.counts.abandoned,
        };
        count.fetch_add(1, Ordering::Relaxed);
        Some(())
    }
}
