//! Atomic float that may be absent, and is absent when all bits are zero.
//!
//! Owns this encoding, with which large static arrays of floats take no memory until they are used.

use crate::sync::{AtomicU64, Ordering, OwnerLoad, const_new};

/// An optional `f64`. Every access is relaxed: it orders no other memory.
pub(crate) struct AtomicFloat(AtomicU64);

impl AtomicFloat {
    const_new! {
        pub(crate) fn new() -> Self {
            Self(AtomicU64::new(ABSENT))
        }
    }

    #[inline]
    pub(crate) fn load(&self) -> Option<f64> {
        decode(self.0.load(Ordering::Relaxed))
    }

    /// Loads, for the only thread that stores.
    #[inline]
    pub(crate) fn load_own(&self) -> Option<f64> {
        decode(self.0.load_own())
    }

    #[inline]
    pub(crate) fn store(&self, value: f64) {
        self.0.store(encode(value), Ordering::Relaxed);
    }

    /// Stores while other threads may add. It is one exchange, like their additions, because the model checker does
    /// not know that no store comes between the two halves of an addition.
    pub(crate) fn replace(&self, value: f64) {
        self.0.swap(encode(value), Ordering::Relaxed);
    }

    /// Makes the value absent again.
    #[cfg(feature = "std")]
    pub(crate) fn clear(&self) {
        self.0.store(ABSENT, Ordering::Relaxed);
    }

    /// Adds to the value, or to zero if it is absent.
    pub(crate) fn add(&self, value: f64) {
        let add = |bits| Some(encode(decode(bits).unwrap_or(0.0) + value));
        // A retry means that another thread succeeded, so there is always progress.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }
}

const ABSENT: u64 = 0;

/// Inverts the bits. Only the NaN with all bits set would become zero; its neighbour represents it.
#[inline]
fn encode(value: f64) -> u64 {
    (!value.to_bits()).max(ABSENT + 1)
}

#[inline]
fn decode(bits: u64) -> Option<f64> {
    if bits == ABSENT { None } else { Some(f64::from_bits(!bits)) }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_float_reads_back() {
        let slot = AtomicFloat::new();
        assert_eq!(slot.load(), None);
        for value in [0.0, -0.0, 1.5, f64::MIN, f64::MAX, f64::INFINITY, f64::NEG_INFINITY, 5e-324] {
            slot.store(value);
            assert_eq!(slot.load().map(f64::to_bits), Some(value.to_bits()), "{value}");
        }
    }

    #[test]
    fn the_nan_with_all_bits_set_stays_a_nan() {
        let slot = AtomicFloat::new();
        slot.store(f64::from_bits(u64::MAX));
        assert!(slot.load().is_some_and(f64::is_nan));
    }

    #[test]
    fn an_addition_to_an_absent_value_starts_at_zero() {
        let slot = AtomicFloat::new();
        slot.add(2.5);
        slot.add(-1.0);
        assert_eq!(slot.load(), Some(1.5));
    }
}
