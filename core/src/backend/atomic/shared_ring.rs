//! The last samples of one series, as all threads record them.
//!
//! Owns the ring that threads without one of their own record into, and that readers take a series' window of. What is
//! made of the window is `series`'s.

use core::ops::Range;

use super::float::AtomicFloat;
use crate::quantiles::{WINDOW_SAMPLES, Window};
use crate::sync::{AtomicU64, Ordering, OwnerLoad, const_new, filled};

/// Finds the key of one place among many, which takes half the time of sorting them all; sorts few.
fn select(keys: &mut [u64], idx: usize) -> Range<usize> {
    const FEW: usize = 16;
    if keys.len() <= FEW || idx >= keys.len() {
        keys.sort_unstable();
        return 0..keys.len();
    }
    keys.select_nth_unstable(idx);
    idx..idx + 1
}

/// The last samples of one series, written by all threads.
///
/// Invariant: `n_claimed` counts the slots that were ever claimed; a slot is absent until its first sample. A
/// reader may see a claimed slot's older sample, or miss a sample that is being stored. `n_accounted` is that of the reader
/// who fetches from the threads' own rings.
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

    /// Adds so many samples: of one claim, which takes longer than they do.
    #[inline]
    pub(crate) fn record_all(&self, n: u64, samples: impl Iterator<Item = f64>) {
        // Relaxed: the claim orders nothing, each slot is whole by itself. 64 bits do not wrap around.
        let claimed = self.n_claimed.fetch_add(n, Ordering::Relaxed);
        let mut idx = (claimed % WINDOW_SAMPLES as u64) as usize;
        for sample in samples {
            self.slots[idx].store(sample);
            idx = if idx + 1 < WINDOW_SAMPLES { idx + 1 } else { 0 };
        }
    }

    /// Returns how many were recorded by now, and how many of them by others than the readers that fetch since they
    /// last did.
    pub(crate) fn end(&self) -> (u64, u64) {
        // Relaxed: a sample that is missed now is new to the next reader.
        let end = self.n_claimed.load(Ordering::Relaxed);
        (end, end.wrapping_sub(self.n_accounted.load_own()))
    }

    /// Takes so many for known; for the reader that fetches.
    pub(crate) fn set_accounted(&self, n_accounted: u64) {
        self.n_accounted.store(n_accounted, Ordering::Relaxed);
    }

    /// Forgets all samples; while no other thread exists.
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
