//! The second thread of a recorder: looks now and then whether readers still find the pipe.
//!
//! Owns the rhythm alone; what is mended, and how, is `publication`'s. Started by the builder unless it is told not to.

use crate::publication::Publication;
use crate::stop::Stop;
use std::time::Duration;

/// Mends once every `interval` until it is said to stop.
pub(crate) fn run(publication: &Publication, stop: &Stop, interval: Duration) {
    while !stop.wait(interval) {
        publication.mend();
    }
}
