//! Handling of failures while a recorder runs: a back-off, and one log line per outage.
//!
//! Owns the decision when to log. It repairs nothing.

use crate::error::{Error, outage_line};
use crate::limits::REPORT_AFTER;
use crate::sys::backoff::BackOff;
use crate::sys::stderr::log_line;
use std::time::{Duration, Instant};

/// The current outage of a recorder, if any.
#[derive(Debug)]
pub(crate) struct FailureLog {
    max_delay: Duration,
    outage: Option<Outage>,
}

/// A period in which all attempts fail.
#[derive(Debug)]
struct Outage {
    since: Instant,
    back_off: BackOff,
    is_reported: bool,
}

impl FailureLog {
    pub(crate) fn new(max_delay: Duration) -> Self {
        Self { max_delay, outage: None }
    }

    /// Records a successful attempt.
    pub(crate) fn on_success(&mut self) {
        self.outage = None;
    }

    /// Records a failed attempt and returns the delay before the next one. Logs a lasting outage once.
    pub(crate) fn on_failure(&mut self, err: &Error) -> Duration {
        let max_delay = self.max_delay;
        let outage = self.outage.get_or_insert_with(|| Outage {
            since: Instant::now(),
            back_off: BackOff::up_to(max_delay),
            is_reported: false,
        });
        if !outage.is_reported && outage.since.elapsed() >= REPORT_AFTER {
            outage.is_reported = true;
            log_line(&outage_line(err));
        }
        outage.back_off.next_delay()
    }
}
