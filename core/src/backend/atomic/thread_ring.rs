//! Ring of the samples that one thread recorded into one series.
//!
//! Owns the ring with one writer, and the fair share of each ring when the window is too small for all. `shard_id`
//! assigns rings to threads; `samples` drains them.
//!
//! Invariant: only the owner writes `n_recorded` and the slots, a slot before the count that includes it. Only the
//! reader that holds the drain mutex writes `n_drained`. A slow reader may find newer samples in slots that were
//! overwritten in the meantime, and finds the same samples again later. It never finds anything else.

use super::opaque::opaque_ref;
use crate::limits::WINDOW_SAMPLES;
use crate::sync::{AtomicU64, Ordering, OwnerLoad, const_new, filled};

/// More than a window, so that the owner must record many samples before it overwrites those that a reader drains.
const SLOTS: usize = 128;
const _: () = assert!(SLOTS.is_power_of_two() && SLOTS > WINDOW_SAMPLES);

/// Returns how many of the first `n` of `n_all` new samples fit the window: in the same proportion for all. Rounded
/// down, so that the differences of successive results add up to exactly what fits.
pub(super) fn fair_share(n: u64, n_all: u64) -> u64 {
    let n_fitting = u128::from(n_all.min(WINDOW_SAMPLES as u64));
    (u128::from(n) * n_fitting / u128::from(n_all.max(1))) as u64
}

/// The samples of one thread in one series.
pub(crate) struct ThreadRing {
    n_recorded: AtomicU64,
    n_drained: AtomicU64,
    /// Floats as bits.
    slots: [AtomicU64; SLOTS],
}

impl ThreadRing {
    const_new! {
        pub(crate) fn new() -> Self {
            Self {
                n_recorded: AtomicU64::new(0),
                n_drained: AtomicU64::new(0),
                slots: filled![AtomicU64::new(0); SLOTS],
            }
        }
    }

    /// Adds a sample. Only for the owner.
    #[inline]
    pub(crate) fn record(&self, sample: f64) {
        let ring = opaque_ref(self);
        let at = ring.n_recorded.load_own();
        ring.slots[at as usize % SLOTS].store(sample.to_bits(), Ordering::Relaxed);
        // Release pairs with the Acquire in `end`: a reader of this count sees the sample.
        ring.n_recorded.store(at.wrapping_add(1), Ordering::Release);
    }

    /// Returns the number of recorded samples.
    pub(super) fn end(&self) -> u64 {
        // Acquire pairs with the Release in `record`.
        self.n_recorded.load(Ordering::Acquire)
    }

    /// Returns the number of samples before `end` that are not drained, including overwritten ones.
    pub(super) fn n_new(&self, end: u64) -> u64 {
        end.wrapping_sub(self.n_drained.load_own())
    }

    /// Returns the newest `n` samples before `end`, at most a window, oldest first. Marks all samples before `end`
    /// as drained.
    pub(super) fn drain(&self, n: u64, end: u64) -> impl Iterator<Item = f64> {
        self.n_drained.store(end, Ordering::Relaxed);
        (0..n).rev().map(move |back| {
            let at = end.wrapping_sub(back + 1);
            f64::from_bits(self.slots[at as usize % SLOTS].load(Ordering::Relaxed))
        })
    }

    /// Discards the samples that are not drained. Only while no other thread exists.
    #[cfg(feature = "std")]
    pub(super) fn reset(&self) {
        self.n_drained.store(self.end(), Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn drained(ring: &ThreadRing, n: u64) -> Vec<f64> {
        ring.drain(n, ring.end()).collect()
    }

    #[test]
    fn the_newest_samples_are_drained_once_in_order() {
        let ring = ThreadRing::new();
        (1..=3).for_each(|sample| ring.record(sample.into()));
        assert_eq!((ring.n_new(ring.end()), drained(&ring, 2)), (3, [2.0, 3.0].to_vec()));
        assert_eq!(ring.n_new(ring.end()), 0);
        ring.record(4.0);
        assert_eq!((ring.n_new(ring.end()), drained(&ring, 1)), (1, [4.0].to_vec()));
    }

    proptest! {
        /// Some bursts are far beyond real numbers of samples.
        #[test]
        fn shares_fill_the_window_and_are_proportional(
            bursts in prop::collection::vec(prop_oneof![0..200u64, 0..100_000u64, 0..1u64 << 57], 1..=32),
        ) {
            let n_all: u64 = bursts.iter().sum();
            let mut n_seen = 0;
            let given: Vec<u64> = bursts
                .iter()
                .map(|n| {
                    n_seen += n;
                    fair_share(n_seen, n_all) - fair_share(n_seen - n, n_all)
                })
                .collect();
            let n_fitting = n_all.min(WINDOW_SAMPLES as u64);
            prop_assert_eq!(given.iter().sum::<u64>(), n_fitting);
            for (n_given, n) in given.into_iter().zip(bursts) {
                let exactly = n as f64 * n_fitting as f64 / n_all.max(1) as f64;
                prop_assert!(n_given <= n && (n_given as f64 - exactly).abs() < 1.001, "{n_given} of {n}");
            }
        }
    }

    #[test]
    fn samples_survive_the_wrap_around_of_ring_and_count() {
        let ring = ThreadRing::new();
        ring.n_recorded.store(u64::MAX - 2, Ordering::Relaxed);
        ring.n_drained.store(u64::MAX - 2, Ordering::Relaxed);
        (0..300).for_each(|sample| ring.record(sample.into()));
        assert_eq!(ring.n_new(ring.end()), 300);
        assert_eq!(drained(&ring, WINDOW_SAMPLES as u64), (200..300).map(f64::from).collect::<Vec<_>>());
    }
}
