//! What each thread writes by itself of one stat: its words in the shard of each of a registry's numbered threads.
//!
//! Owns the words that have one writer, and reading across them. Whose shard is whose is `shard_id`'s; how
//! a stat's value is made of them is `cell`'s.
//!
//! Invariant: the words of shard `k` are written by the thread of number `k` alone, by a relaxed load and a relaxed
//! store; the marks beside them by the holder of the cell's version. ShardSlot only grow by what was added: nothing sets
//! them back.

use super::float::AtomicFloat;
use super::opaque::{opaque_i64, opaque_ref};
use super::shard_id;
use crate::sync::{AtomicI64, Ordering, OwnerLoad, const_new, fence};
use crate::value::Value;

/// One stat in all shards that were ever used.
#[derive(Clone, Copy)]
pub(crate) struct StatShards<'r> {
    pub(super) sums: &'r [AtomicI64],
    pub(super) floats: &'r [FloatSlot],
    pub(super) n_stats: usize,
    pub(super) idx: usize,
}

impl<'r> StatShards<'r> {
    /// Adds to the calling thread's own word; false, and nothing is done, where it is not as simple.
    #[inline]
    pub(crate) fn add_fast(self, value: Value) -> bool {
        self.add_fast_at(self.slot_idx(shard_id::current().get()), value)
    }

    /// As [`add_fast`](Self::add_fast), at a place among the words of all stats; beyond them there is none.
    #[inline]
    pub(super) fn add_fast_at(self, slot_idx: usize, value: Value) -> bool {
        match value {
            Value::Int(int) => self.sums.get(slot_idx).map(|sum| add(sum, int)).is_some(),
            Value::Float(float) => self.floats.get(slot_idx).is_some_and(|floats| floats.add_fast(float)),
        }
    }

    /// Returns the calling thread's own words; `None` where it has no shard.
    pub(crate) fn own_slot(self) -> Option<ShardSlot<'r>> {
        self.slot(shard_id::current().get())
    }

    /// Returns the words that the thread of this number owns.
    #[inline]
    pub(crate) fn slot(self, id: usize) -> Option<ShardSlot<'r>> {
        let slot_idx = self.slot_idx(id);
        Some(ShardSlot { sum: self.sums.get(slot_idx)?, floats: self.floats.get(slot_idx)? })
    }

    #[inline]
    fn slot_idx(self, id: usize) -> usize {
        id.wrapping_mul(self.n_stats).wrapping_add(self.idx)
    }

    /// Of the shards that were used by now. A thread that saw what another one wrote sees its shard here as well.
    fn slots(self) -> impl Iterator<Item = ShardSlot<'r>> {
        (0..shard_id::n_used()).map_while(move |id| self.slot(id))
    }

    /// Returns the sum of all integers; wraps.
    #[inline]
    pub(crate) fn sum(self) -> i64 {
        let sums = (0..shard_id::n_used()).map_while(|id| self.sums.get(self.slot_idx(id)));
        sums.fold(0, |all, sum| all.wrapping_add(sum.load(Ordering::Relaxed)))
    }

    /// Returns what was added since the marks: integers and floats.
    pub(crate) fn since_baseline(self) -> (i64, f64) {
        self.slots().fold((0, 0.0), |(sum, float), slot| {
            let baseline = slot.floats.sum_baseline.load(Ordering::Relaxed);
            let since = slot.sum.load(Ordering::Relaxed).wrapping_sub(baseline);
            (sum.wrapping_add(since), float + slot.floats.float_since_baseline())
        })
    }

    /// Sets the marks to what the words stand at, and returns the sum of all integers; for the holder of the cell's
    /// version.
    pub(crate) fn set_baseline(self) -> i64 {
        self.slots().fold(0, |all, slot| {
            let sum = slot.sum.load(Ordering::Relaxed);
            // Only what is new is written, so that memory that was never used stays so.
            if slot.floats.sum_baseline.load(Ordering::Relaxed) != sum {
                slot.floats.sum_baseline.store(sum, Ordering::Relaxed);
            }
            if let Some(float) = slot.floats.float.load() {
                slot.floats.float_baseline.store(float);
            }
            all.wrapping_add(sum)
        })
    }

    /// Sets all words to zero; while no other thread exists. Writes only what is not zero yet, so that memory that was
    /// never used stays so.
    #[cfg(feature = "std")]
    pub(crate) fn clear(self) {
        for ShardSlot { sum, floats } in self.slots() {
            for int in [sum, &floats.sum_baseline].into_iter().filter(|int| int.load(Ordering::Relaxed) != 0)
            {
                int.store(0, Ordering::Relaxed);
            }
            for float in
                [&floats.float, &floats.float_baseline].into_iter().filter(|float| float.load().is_some())
            {
                float.clear();
            }
        }
    }
}

/// A thread's share of one stat: the integers that it added, and the rest.
#[derive(Clone, Copy)]
pub(crate) struct ShardSlot<'r> {
    pub(crate) sum: &'r AtomicI64,
    floats: &'r FloatSlot,
}

impl ShardSlot<'_> {
    /// Adds an integer; for the owner alone.
    pub(crate) fn add_int(self, int: i64) {
        add(self.sum, int);
    }

    /// Adds a float; for the owner alone. False, and nothing is done, where the stat was set since this word had its
    /// first: what is added to a large number, or to an infinite one, is not to be found by a difference.
    pub(crate) fn add_float(self, float: f64) -> bool {
        if self.floats.float_baseline.load().is_some() {
            // Pairs with the fence of the thread that marked it.
            fence(Ordering::Acquire);
            return false;
        }
        self.floats.float.store(self.floats.float.load_own().unwrap_or(0.0) + float);
        true
    }
}

#[inline]
fn add(sum: &AtomicI64, int: i64) {
    // Relaxed: one writer, and a reader learns this number, not what was written before it.
    let sum = opaque_ref(sum);
    sum.store(opaque_i64(sum.load_own().wrapping_add(int)), Ordering::Relaxed);
}

/// The floats that a thread added, and what floats and integers stood at when the stat was last set to a float.
pub(super) struct FloatSlot {
    float: AtomicFloat,
    sum_baseline: AtomicI64,
    float_baseline: AtomicFloat,
}

impl FloatSlot {
    const_new! {
        pub(super) fn new() -> Self {
            Self { float: AtomicFloat::new(), sum_baseline: AtomicI64::new(0), float_baseline: AtomicFloat::new() }
        }
    }

    /// Adds a float that is not the word's first, to a stat that was not set since; for the owner alone.
    #[inline]
    fn add_fast(&self, float: f64) -> bool {
        let floats = opaque_ref(self);
        match (floats.float.load_own(), floats.float_baseline.load()) {
            (Some(sum), None) => {
                floats.float.store(sum + float);
                true
            }
            _ => false,
        }
    }

    fn float_since_baseline(&self) -> f64 {
        match (self.float.load(), self.float_baseline.load()) {
            (None, _) => 0.0,
            (Some(float), None) => float,
            // Compared first, because the difference of two infinities is no number.
            (Some(float), Some(baseline)) if float.to_bits() == baseline.to_bits() => 0.0,
            (Some(float), Some(baseline)) => float - baseline,
        }
    }
}
