//! Exponential back-off between attempts.
//!
//! Computes delays only. It does not wait.

use crate::limits::{MAX_BACK_OFF, MIN_BACK_OFF};
use std::time::Duration;

/// The delay before the next attempt. It doubles from 10 ms up to a maximum, which is 10 s at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BackOff {
    next: Duration,
    max: Duration,
}

impl BackOff {
    pub(crate) fn up_to(max: Duration) -> Self {
        Self { next: MIN_BACK_OFF, max: max.min(MAX_BACK_OFF) }
    }

    /// Returns the delay to wait now, and doubles the next one.
    pub(crate) fn next_delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(self.max);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest() {
        let mut back_off = BackOff::up_to(Duration::from_millis(50));
        let delays: Vec<_> = (0..5).map(|_| back_off.next_delay().as_millis()).collect();
        assert_eq!(delays, [10, 20, 40, 50, 50]);
    }

    #[test]
    fn delays_double_up_to_ten_seconds() {
        let mut back_off = BackOff::up_to(Duration::MAX);
        let delays: Vec<_> = (0..12).map(|_| back_off.next_delay().as_millis()).collect();
        assert_eq!(delays, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10_000, 10_000]);
    }
}
