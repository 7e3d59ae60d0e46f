//! The second thread of a recorder: looks now and then, or whenever something happens to it, whether readers still find
//! the pipe.
//!
//! Owns the rhythm alone; what is mended, and how, is `publication`'s. Started by the builder unless it is told not to.

use crate::fifo::Fifo;
use crate::publication::Publication;
use crate::stop::{BackOff, Stop};
use crate::watch::Watch;
use std::sync::Arc;
use std::time::Duration;

/// How long at most a watched pipe that was lost is not looked after.
pub(crate) const WATCHED_REST: Duration = Duration::from_millis(50);

/// Mends once every `interval` until it is said to stop.
pub(crate) fn run(publication: &Publication, stop: &Stop, interval: Duration) {
    while !stop.wait(interval) {
        publication.mend();
    }
}

/// Mends at once where the pipe is taken away, and once every `interval`, until it is said to stop.
pub(crate) fn run_watching(publication: &Publication, stop: &Stop, interval: Duration) {
    let mut watch = Watch::default();
    let mut back_off = BackOff::up_to(WATCHED_REST);
    while !stop.is_set() {
        let before = publication.published();
        // In this order: what happens after the look is seen by the watch.
        let is_there = watch.begin(&publication.path());
        publication.mend();
        if is_there && is_same(before, publication.published()) {
            back_off = BackOff::up_to(WATCHED_REST);
            watch.wait(stop, interval);
        } else {
            // A rest also while one reader comes after the other: each of them takes the watched pipe away.
            stop.wait(back_off.rest());
        }
    }
}

fn is_same(before: Option<Arc<Fifo>>, after: Option<Arc<Fifo>>) -> bool {
    before.zip(after).is_some_and(|(before, after)| Arc::ptr_eq(&before, &after))
}
