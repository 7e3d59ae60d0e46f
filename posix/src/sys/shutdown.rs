//! Shutdown event that interrupts every blocking wait of a recorder's threads.
//!
//! Uses no descriptor, so that it works even if the program closes all descriptors or has none left. It knows neither pipes
//! nor threads.

use crate::sys::lock::lock;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// An event that stays signalled once it was.
#[derive(Debug, Default)]
pub(crate) struct ShutdownEvent {
    signalled: Mutex<bool>,
    changed: Condvar,
}

impl ShutdownEvent {
    /// Signals the event and wakes all waiting threads.
    pub(crate) fn signal(&self) {
        *lock(&self.signalled) = true;
        self.changed.notify_all();
    }

    pub(crate) fn is_signalled(&self) -> bool {
        *lock(&self.signalled)
    }

    /// Waits for the event, for `timeout` at most. Returns whether it is signalled.
    pub(crate) fn wait(&self, timeout: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(lock(&self.signalled), timeout, |signalled| !*signalled);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;
    use std::time::Instant;

    #[test]
    fn it_stays_signalled() {
        let event = ShutdownEvent::default();
        assert!(!event.is_signalled());
        event.signal();
        assert!(event.is_signalled());
        assert!(event.wait(Duration::MAX));
    }

    #[test]
    fn a_wait_is_not_shorter_than_asked() {
        let event = ShutdownEvent::default();
        let begin = Instant::now();
        assert!(!event.wait(Duration::from_micros(1500)));
        assert!(begin.elapsed() >= Duration::from_micros(1500));
    }

    #[test]
    fn a_wait_without_end_ends_when_it_is_signalled() {
        let event = Arc::new(ShutdownEvent::default());
        let waiting = Arc::clone(&event);
        let waiter = thread::spawn(move || waiting.wait(Duration::MAX));
        event.signal();
        assert!(waiter.join().unwrap());
    }
}
