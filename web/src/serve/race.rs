//! Waits for the first of two futures.
//!
//! Owns nothing but that. Called by `server` wherever something may be cut short.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// Which of two futures was first, and what it gave.
pub(super) enum First<A, B> {
    /// The first one given, also where both are ready.
    Left(A),
    /// The second one.
    Right(B),
}

/// Waits until one of them is ready; the other one may be waited for again.
pub(super) async fn race<A, B>(mut left: Pin<&mut A>, mut right: Pin<&mut B>) -> First<A::Output, B::Output>
where
    A: Future + ?Sized,
    B: Future + ?Sized,
{
    poll_fn(|cx| {
        if let Poll::Ready(output) = left.as_mut().poll(cx) {
            return Poll::Ready(First::Left(output));
        }
        right.as_mut().poll(cx).map(First::Right)
    })
    .await
}
