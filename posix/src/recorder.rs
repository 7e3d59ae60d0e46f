//! The recorder's thread: waits for a reader, gives it a snapshot, and so on until it is told to stop.
//!
//! Owns the order of a read: a fresh pipe takes the name first, then the snapshot is taken, so that no pipe carries two
//! snapshots. It never makes a recording thread wait. Started by the builder.

use crate::error::Error;
use crate::publication::{Handover, Publication};
use crate::stop::Stop;
use crate::text::Text;
use crate::trouble::Trouble;
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
    /// How long it may rest between attempts while nothing can be published.
    pub(crate) longest_rest: Duration,
    pub(crate) counts: Arc<Counts>,
}

/// What a recorder did so far.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    // Plain statistics: nothing else is promised to who reads them.
    pub(crate) served: AtomicU64,
    pub(crate) abandoned: AtomicU64,
}

impl Recording {
    /// Serves readers until it is said to stop, or all is withdrawn.
    pub(crate) fn run(&self) {
        let mut text = Text::default();
        let mut trouble = Trouble::new(self.longest_rest);
        while !self.stop.is_set() {
            match self.serve_next(&mut text) {
                Ok(true) => trouble.is_over(),
                Ok(false) => return,
                Err(err) => {
                    self.stop.wait(trouble.rest_after(&err));
                }
            }
        }
    }

    /// Waits for one reader and serves it; `false` if none will come any more.
    fn serve_next(&self, text: &mut Text) -> Result<bool, Error> {
        let rest = self.publication.rest_between_readers();
        if !rest.is_zero() && self.stop.wait(rest) {
            return Ok(false);
        }
        let Some(fifo) = self.publication.await_next()? else { return Ok(false) };
        let pipe = match fifo.wait_for_reader() {
            Ok(Some(pipe)) => pipe,
            Ok(None) => {
                self.stop.wait(LOOK_EVERY);
                return Ok(true);
            }
            Err(source) => {
                self.publication.mend();
                return Err(Error::Wait { path: self.publication.path(), source });
            }
        };
        if self.publication.hand_over(&fifo) == Handover::Outdated {
            return Ok(true);
        }
        let text = text.of(self.registry.snapshot());
        let count = match write_within(&pipe, text, self.write_deadline, &self.stop) {
            Ok(()) => &self.counts.served,
            Err(_) => &self.counts.abandoned,
        };
        count.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }
}
