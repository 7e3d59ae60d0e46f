//! Bodies of answers, until all clients took them.
//!
//! Owns how much memory they may hold together, the one that is being made included: each belongs to one collection, and
//! a client that does not read keeps its own for as long as it may. It does not make them (see `encode`) and cuts nobody
//! off (see `connection`). Called by `answers`.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

/// The time until the next look for a client that makes way.
const PAUSE: Duration = Duration::from_millis(5);

/// What clients have not taken yet.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    held: Arc<Held>,
}

#[derive(Debug, Default)]
struct Held {
    n_bytes: Mutex<usize>,
    given_back: Condvar,
}

/// Room for a body, counted until its last client has it.
#[derive(Debug)]
pub(super) struct Room {
    n_bytes: usize,
    held: Arc<Held>,
}

/// A body in its room.
struct Body {
    bytes: Vec<u8>,
    _room: Room,
}

impl Bodies {
    /// The most bytes of all bodies together: more than the largest, so that one has room beside small ones.
    pub(super) const MAX_BYTES: usize = 12 << 20;

    /// Takes room for a body that is about to be made. Where others are in its place it waits for it, no longer than
    /// `patience`, and calls `make_room` again and again meanwhile; `None` if that did not help.
    pub(super) fn reserve(&self, n_bytes: usize, patience: Duration, make_room: impl Fn()) -> Option<Room> {
        let until = Instant::now() + patience;
        let mut n_bytes_held = self.held.lock();
        while *n_bytes_held + n_bytes > Self::MAX_BYTES {
            if Instant::now() >= until {
                return None;
            }
            drop(n_bytes_held);
            make_room();
            let waited = self.held.given_back.wait_timeout(self.held.lock(), PAUSE);
            (n_bytes_held, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        *n_bytes_held += n_bytes;
        Some(Room { n_bytes, held: Arc::clone(&self.held) })
    }
}

impl Room {
    /// Returns the body that the room was taken for, which may be shared.
    pub(super) fn fill(self, bytes: Vec<u8>) -> Bytes {
        debug_assert_eq!(bytes.capacity(), self.n_bytes, "the room is what was asked for");
        Bytes::from_owner(Body { bytes, _room: self })
    }
}

impl Held {
    /// A plain number is never left half changed.
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.n_bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        *self.held.lock() -= self.n_bytes;
        self.held.given_back.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const LONG: Duration = Duration::from_secs(20);

    fn large(bodies: &Bodies) -> Bytes {
        let room = bodies.reserve(Bodies::MAX_BYTES, Duration::ZERO, || {}).unwrap();
        room.fill(vec![0; Bodies::MAX_BYTES])
    }

    #[test]
    fn a_body_has_room_once_others_were_taken_by_all() {
        let bodies = Bodies::default();
        let first = large(&bodies);
        let shared = first.clone();
        drop(first);
        assert!(bodies.reserve(1, Duration::ZERO, || {}).is_none(), "somebody has not taken it yet");
        drop(shared);
        assert_eq!(large(&bodies).len(), Bodies::MAX_BYTES);
    }

    #[test]
    fn whoever_wants_room_may_make_it() {
        let bodies = Bodies::default();
        let held = Cell::new(Some(large(&bodies)));
        assert!(bodies.reserve(1, LONG, || drop(held.take())).is_some());
    }

    #[test]
    fn room_that_nothing_was_put_into_is_given_back() {
        let bodies = Bodies::default();
        drop(bodies.reserve(Bodies::MAX_BYTES, Duration::ZERO, || {}).unwrap());
        assert!(bodies.reserve(Bodies::MAX_BYTES, Duration::ZERO, || {}).is_some());
    }
}
