//! Containment of panics: one panic costs one answer, and is counted.
//!
//! Owns the count, and catches panics around each request and each scrape. State that a panic left inconsistent is
//! replaced by the caller.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt as _;

use super::error::Panicked;

/// Counts the panics of one service.
#[derive(Debug, Default)]
pub(super) struct Panics {
    n_panics: AtomicU64,
}

impl Panics {
    /// Waits for a future, and catches its panic. The future is not polled again after that, and the data that it changed
    /// may be inconsistent.
    pub(super) async fn guard<F: Future>(&self, future: F) -> Result<F::Output, Panicked> {
        let result = AssertUnwindSafe(future).catch_unwind().await;
        // Relaxed: the count orders nothing else.
        result.map_err(|_| Panicked { n_panics: self.n_panics.fetch_add(1, Ordering::Relaxed) + 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_future_that_panics_is_an_error_and_the_next_one_is_not() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let panics = Panics::default();
        let number = |text: &'static str| async move {
            tokio::task::yield_now().await;
            text.parse::<u8>().unwrap()
        };
        assert_eq!(runtime.block_on(panics.guard(number("7"))), Ok(7));
        assert_eq!(runtime.block_on(panics.guard(number("none"))), Err(Panicked { n_panics: 1 }));
        assert_eq!(runtime.block_on(panics.guard(number("7"))), Ok(7));
        assert_eq!(runtime.block_on(panics.guard(number("none"))), Err(Panicked { n_panics: 2 }));
    }
}
