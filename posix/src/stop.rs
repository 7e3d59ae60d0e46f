//! The shutdown event that interrupts every rest of a recorder's threads, and the back-off between their attempts.
//!
//! Needs no descriptor, so that nothing that the program closes or runs out of is in its way. It knows neither pipes nor
//! threads.

use crate::lock::lock;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Signalled once and for all.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    is_set: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Says to stop.
    pub(crate) fn set(&self) {
        *lock(&self.is_set) = true;
        self.changed.notify_all();
    }

    /// Says whether to stop.
    pub(crate) fn is_set(&self) -> bool {
        *lock(&self.is_set)
    }

    /// Rests until it is set, at most so long; says whether it is.
    pub(crate) fn wait(&self, at_most: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(lock(&self.is_set), at_most, |is_set| !*is_set);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// How long to rest between attempts: doubles from 10 ms to the longest, which is 10 s at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BackOff {
    next: Duration,
    longest: Duration,
}

impl BackOff {
    const FIRST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_secs(10);

    pub(crate) fn up_to(longest: Duration) -> Self {
        Self { next: Self::FIRST, longest: longest.min(Self::LONGEST) }
    }

    /// Returns the rest to take now.
    pub(crate) fn rest(&mut self) -> Duration {
        let rest = self.next;
        self.next = (rest * 2).min(self.longest);
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;
    use std::time::Instant;

    #[test]
    fn it_stays_set() {
        let stop = Stop::default();
        assert!(!stop.is_set());
        stop.set();
        assert!(stop.is_set());
        assert!(stop.wait(Duration::MAX));
    }

    #[test]
    fn a_wait_is_not_shorter_than_asked() {
        let stop = Stop::default();
        let begin = Instant::now();
        assert!(!stop.wait(Duration::from_micros(1500)));
        assert!(begin.elapsed() >= Duration::from_micros(1500));
    }

    #[test]
    fn a_wait_without_end_ends_when_it_is_set() {
        let stop = Arc::new(Stop::default());
        let waiting = Arc::clone(&stop);
        let waiter = thread::spawn(move || waiting.wait(Duration::MAX));
        stop.set();
        assert!(waiter.join().unwrap());
    }

    #[test]
    fn rests_double_up_to_the_longest() {
        let mut back_off = BackOff::up_to(Duration::from_millis(50));
        let rests: Vec<_> = (0..5).map(|_| back_off.rest().as_millis()).collect();
        assert_eq!(rests, [10, 20, 40, 50, 50]);
    }

    #[test]
    fn rests_double_up_to_ten_seconds() {
        let mut back_off = BackOff::up_to(Duration::MAX);
        let rests: Vec<_> = (0..12).map(|_| back_off.rest().as_millis()).collect();
        assert_eq!(rests, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10_000, 10_000]);
    }
}
