//! The memory of bodies that clients have not taken yet.
//!
//! Owns one budget for all of them: a body keeps its share until its last client has taken it or was disconnected. It
//! makes no bodies (see `encode`) and disconnects nobody (see `connection`, whose time limit bounds every wait here).

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The budget.
const MAX_KIB: usize = 12 << 10;
/// More than the largest body takes: 8 MiB of names and large integers, and less than 32 bytes more for each of 65 536 stats.
const LARGEST_KIB: usize = 10 << 10;

/// The budget, counted in KiB.
pub(super) struct MemoryBudget(Arc<Semaphore>);

/// A body and its share of the budget, which is free again when this is dropped.
struct Body {
    bytes: Vec<u8>,
    _share: Option<OwnedSemaphorePermit>,
}

impl MemoryBudget {
    /// Makes a body once there is room for the largest one, and returns it, to be shared by all who asked for it.
    pub(super) async fn fill<E>(&self, encode: impl FnOnce() -> Result<Vec<u8>, E>) -> Result<Bytes, E> {
        // An error would mean that the semaphore was closed, which it never is.
        let mut share = Arc::clone(&self.0).acquire_many_owned(LARGEST_KIB as u32).await.ok();
        let mut bytes = encode()?;
        bytes.shrink_to_fit();
        let n_unused_kib = LARGEST_KIB.saturating_sub(bytes.len().div_ceil(1024));
        drop(share.as_mut().and_then(|share| share.split(n_unused_kib)));
        Ok(Bytes::from_owner(Body { bytes, _share: share }))
    }
}

impl Default for MemoryBudget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_KIB)))
    }
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::task::{Context, Poll, Waker};

    /// Makes a body, if it need not wait.
    fn fill(budget: &MemoryBudget, n_kib: usize) -> Option<Bytes> {
        let filled = std::pin::pin!(budget.fill(|| Ok::<_, Infallible>(vec![0; n_kib << 10])));
        match filled.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(body)) => Some(body),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_large_body_is_made_once_all_clients_have_taken_the_one_before() {
        let budget = MemoryBudget::default();
        let first = fill(&budget, LARGEST_KIB);
        let shared = first.clone();
        drop(first);
        assert_eq!(fill(&budget, 1), None, "one client has not taken it yet");
        drop(shared);
        assert_eq!(fill(&budget, 2 * LARGEST_KIB).map(|body| body.len()), Some((2 * LARGEST_KIB) << 10));
    }

    #[test]
    fn small_bodies_stand_side_by_side_and_leave_room_for_the_largest() {
        let budget = MemoryBudget::default();
        let small: Vec<_> = (0..MAX_KIB - LARGEST_KIB).map(|_| fill(&budget, 1).unwrap()).collect();
        let largest = fill(&budget, LARGEST_KIB).unwrap();
        drop((small, largest));
        assert_eq!(budget.0.available_permits(), MAX_KIB);
    }

    #[test]
    fn what_cannot_be_encoded_takes_nothing() {
        let budget = MemoryBudget::default();
        let failed = std::pin::pin!(budget.fill(|| Err("why")));
        assert_eq!(failed.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err("why")));
        assert_eq!(budget.0.available_permits(), MAX_KIB);
    }
}
