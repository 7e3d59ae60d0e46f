//! A panic costs one answer, and is counted.
//!
//! Owns the count and the catching, around each request and each scrape. It repairs nothing: what a panic left half
//! changed is replaced by those who go on with it.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt as _;

/// Counts the panics of one service.
#[derive(Debug, Default)]
pub(super) struct Panics {
    n_panics: AtomicU64,
}

/// Something panicked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Panicked {
    /// How often that happened since the service started.
    pub(super) n_panics: u64,
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a part of the service failed, which makes {} since its start: report this to the makers of statvent-web, \
             with what it says on standard error",
            self.n_panics
        )
    }
}

impl core::error::Error for Panicked {}

impl Panics {
    /// Waits for a future, which is not polled again once it panicked; what it worked on may be half changed then.
    pub(super) async fn guard<F: Future>(&self, future: F) -> Result<F::Output, Panicked> {
        let result = AssertUnwindSafe(future).catch_unwind().await;
        // Relaxed: a plain count.
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

    #[test]
    fn the_message_says_how_often_and_what_to_do() {
        assert_eq!(
            Panicked { n_panics: 3 }.to_string(),
            "a part of the service failed, which makes 3 since its start: report this to the makers of statvent-web, \
             with what it says on standard error"
        );
    }
}
