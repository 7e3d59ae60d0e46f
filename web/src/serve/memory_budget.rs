//! The memory budget of bodies that clients have not received yet.
//!
//! Every body keeps its reservation until its last client has received it or was disconnected. `connection` bounds that
//! time. Encoding is in `encode`.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{MAX_BODIES_KIB, MAX_BODY_KIB};

/// The budget: one permit is one KiB.
pub(super) struct MemoryBudget(Arc<Semaphore>);

/// A body and its reservation. Dropping it returns the reservation to the budget.
struct ReservedBody {
    bytes: Vec<u8>,
    _reservation: Option<OwnedSemaphorePermit>,
}

impl MemoryBudget {
    /// Waits until the largest body fits, encodes one, and returns it in a form that clients can share.
    ///
    /// Returns the unused part of the reservation to the budget.
    pub(super) async fn encode_within<E>(
        &self,
        encode: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Bytes, E> {
        // `acquire_many_owned` fails only if the semaphore is closed, and this one never is.
        let mut reservation = Arc::clone(&self.0).acquire_many_owned(MAX_BODY_KIB as u32).await.ok();
        let mut bytes = encode()?;
        bytes.shrink_to_fit();
        let n_unused_kib = MAX_BODY_KIB.saturating_sub(bytes.len().div_ceil(1024));
        drop(reservation.as_mut().and_then(|reservation| reservation.split(n_unused_kib)));
        Ok(Bytes::from_owner(ReservedBody { bytes, _reservation: reservation }))
    }
}

impl Default for MemoryBudget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_BODIES_KIB)))
    }
}

impl AsRef<[u8]> for ReservedBody {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::task::{Context, Poll, Waker};

    /// Encodes a body, or returns `None` if that would have to wait.
    fn try_encode(budget: &MemoryBudget, n_kib: usize) -> Option<Bytes> {
        let encoded = std::pin::pin!(budget.encode_within(|| Ok::<_, Infallible>(vec![0; n_kib << 10])));
        match encoded.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(body)) => Some(body),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_large_body_is_encoded_once_all_clients_have_received_the_one_before() {
        let budget = MemoryBudget::default();
        let first = try_encode(&budget, MAX_BODY_KIB);
        let shared = first.clone();
        drop(first);
        assert_eq!(try_encode(&budget, 1), None, "one client has not received it yet");
        drop(shared);
        assert_eq!(
            try_encode(&budget, 2 * MAX_BODY_KIB).map(|body| body.len()),
            Some((2 * MAX_BODY_KIB) << 10)
        );
    }

    #[test]
    fn small_bodies_leave_room_for_the_largest() {
        let budget = MemoryBudget::default();
        let small: Vec<_> =
            (0..MAX_BODIES_KIB - MAX_BODY_KIB).map(|_| try_encode(&budget, 1).unwrap()).collect();
        let largest = try_encode(&budget, MAX_BODY_KIB).unwrap();
        drop((small, largest));
        assert_eq!(budget.0.available_permits(), MAX_BODIES_KIB);
    }

    #[test]
    fn a_failed_encoding_returns_its_reservation() {
        let budget = MemoryBudget::default();
        let failed = std::pin::pin!(budget.encode_within(|| Err("why")));
        assert_eq!(failed.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err("why")));
        assert_eq!(budget.0.available_permits(), MAX_BODIES_KIB);
    }
}
