//! Ring of the last samples of one series, written by all threads.
//!
//! Owns the ring that threads without a ring of their own write to. Readers take a series' window from it.
//! `quantiles` evaluates the window.

use core::ops::Range;

use super::float::AtomicFloat;
use crate::limits::WINDOW_SAMPLES;
use crate::quantiles::Window;
use crate::sync::{AtomicU64, Ordering, OwnerLoad, const_new, filled};

/// Selects the key of one index, which takes half the time of sorting all keys; sorts if there are few.
fn select(keys: &mut [u64], idx: usize) -> Range<usize> {
    const MAX_SORTED: usize = 16;
    if keys.len() <= MAX_SORTED || idx >= keys.len() {
        keys.sort_unstable();
        return 0..keys.len();
    }
    keys.select_nth_unstable(idx);
    idx..idx + 1
}

/// The last samples of one series, from all threads.
///
/// Invariant: `n_claimed` counts the slots that were ever claimed. A slot is absent until its first sample. A reader may see
/// the older sample of a claimed slot, or miss a sample that is being stored. Only the reader that drains the
/// threads' rings writes `n_accounted`: the claims up to its last drain.
pub(crate) struct SharedRing {
    n_claimed: AtomicU64,
    n_accounted: AtomicU64,
    slots: [AtomicFloat; WINDOW_SAMPLES],
}

impl SharedRing {
    const_new! {
        pub(crate) fn new() -> Self {
            Self {
                n_claimed: AtomicU64::new(0),
                n_accounted: AtomicU64::new(0),
                slots: filled![AtomicFloat::new(); WINDOW_SAMPLES],
            }
        }
    }

    #[inline]
    pub(crate) fn record(&self, sample: f64) {
        self.record_all(1, core::iter::once(sample));
    }

    /// Adds `n` samples with a single claim, because a claim takes longer than the stores.
    #[inline]
    pub(crate) fn record_all(&self, n: u64, samples: impl Iterator<Item = f64>) {
        // Relaxed: the claim orders nothing, and each slot is complete by itself. 64 bits do not wrap around.
        let claimed = self.n_claimed.fetch_add(n, Ordering::Relaxed);
        let mut idx = (claimed % WINDOW_SAMPLES as u64) as usize;
        for sample in samples {
            self.slots[idx].store(sample);
            idx = if idx + 1 < WINDOW_SAMPLES { idx + 1 } else { 0 };
        }
    }

    /// Returns the number of recorded samples, and how many of them came directly from threads since the last
    /// drain.
    pub(crate) fn end(&self) -> (u64, u64) {
        // Relaxed: the next reader counts a sample that this one misses.
        let end = self.n_claimed.load(Ordering::Relaxed);
        (end, end.wrapping_sub(self.n_accounted.load_own()))
    }

    /// Sets the number of accounted samples. Only for the reader that drains.
    pub(crate) fn set_accounted(&self, n_accounted: u64) {
        self.n_accounted.store(n_accounted, Ordering::Relaxed);
    }

    /// Discards all samples. Only while no other thread exists.
    #[cfg(feature = "std")]
    pub(crate) fn reset(&self) {
        self.n_accounted.store(0, Ordering::Relaxed);
        if self.n_claimed.swap(0, Ordering::Relaxed) > 0 {
            self.slots.iter().for_each(AtomicFloat::clear);
        }
    }

    pub(crate) fn window(&self) -> Window {
        Window::from_samples(self.slots.iter().filter_map(AtomicFloat::load), select)
    }
}
