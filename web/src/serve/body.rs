//! Bodies of answers, until all clients took them.
//!
//! Owns how much memory they may hold together: each belongs to one collection, and a client that does not read keeps its
//! own for as long as it may. It does not make them (see `encode`). Called by `answers`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// What clients have not taken yet.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    n_bytes: Arc<AtomicUsize>,
}

/// A body, counted until its last client has it.
struct Body {
    bytes: Vec<u8>,
    n_bytes: Arc<AtomicUsize>,
}

impl Bodies {
    /// The most bytes of all bodies together.
    pub(super) const MAX_BYTES: usize = 12 << 20;

    /// Returns a body that may be shared; `None` if there is no room for it beside the others.
    pub(super) fn hold(&self, bytes: Vec<u8>) -> Option<Bytes> {
        // Relaxed: a plain count, which is added to by one thread alone.
        let n_bytes = self.n_bytes.load(Ordering::Relaxed) + bytes.len();
        if n_bytes > Self::MAX_BYTES {
            return None;
        }
        self.n_bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        Some(Bytes::from_owner(Body { bytes, n_bytes: Arc::clone(&self.n_bytes) }))
    }
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.n_bytes.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_room_once_others_were_taken_by_all() {
        let bodies = Bodies::default();
        let large = || vec![0; Bodies::MAX_BYTES];
        let first = bodies.hold(large()).unwrap();
        let shared = first.clone();
        drop(first);
        assert_eq!(bodies.hold(vec![0]), None, "somebody has not taken it yet");
        drop(shared);
        assert_eq!(bodies.hold(large()).unwrap().len(), Bodies::MAX_BYTES);
    }
}
