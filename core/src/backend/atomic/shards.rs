//! Shards of one stat: the words that each thread owns.
//!
//! Owns the words with one writer, and the sums over all shards. `shard_id` assigns shards to threads, `cell` computes the
//! value.
//!
//! Invariant: only the thread with id `k` writes the sums of shard `k`, by a relaxed load and a relaxed store. Only
//! the holder of the cell's version writes the baselines beside them. Sums change only by additions: only
//! `clear` resets them, while no other thread exists.

use super::float::AtomicFloat;
use super::opaque::{opaque_i64, opaque_ref};
use super::shard_id;
use crate::sync::{AtomicI64, Ordering, OwnerLoad, const_new, fence};
use crate::value::Value;

/// One stat in all shards.
#[derive(Clone, Copy)]
pub(crate) struct StatShards<'r> {
    pub(super) sums: &'r [AtomicI64],
    pub(super) floats: &'r [FloatSlot],
    pub(super) n_stats: usize,
    pub(super) idx: usize,
}

impl<'r> StatShards<'r> {
    /// Adds to the calling thread's own word. Returns false, without effect, if only the slow path can add.
    #[inline]
    pub(crate) fn add_fast(self, value: Value) -> bool {
        self.add_fast_at(self.slot_idx(shard_id::current().get()), value)
    }

    /// As [`add_fast`](Self::add_fast), for the slot at this index among the slots of all stats. An invalid index
    /// returns false.
    #[inline]
    pub(super) fn add_fast_at(self, slot_idx: usize, value: Value) -> bool {
        match value {
            Value::Int(int) => self.sums.get(slot_idx).map(|sum| add(sum, int)).is_some(),
            Value::Float(float) => self.floats.get(slot_idx).is_some_and(|floats| floats.add_fast(float)),
        }
    }

    /// Returns the calling thread's own slot, or `None` if it has no shard.
    pub(crate) fn own_slot(self) -> Option<ShardSlot<'r>> {
        self.slot(shard_id::current().get())
    }

    /// Returns the slot of the thread with this id.
    #[inline]
    pub(crate) fn slot(self, id: usize) -> Option<ShardSlot<'r>> {
        let slot_idx = self.slot_idx(id);
        Some(ShardSlot { sum: self.sums.get(slot_idx)?, floats: self.floats.get(slot_idx)? })
    }

    #[inline]
    fn slot_idx(self, id: usize) -> usize {
        id.wrapping_mul(self.n_stats).wrapping_add(self.idx)
    }

    /// Returns the slots of all shards that were ever used. A thread that sees another thread's write also
    /// sees that thread's shard here.
    fn slots(self) -> impl Iterator<Item = ShardSlot<'r>> {
        (0..shard_id::n_used()).map_while(move |id| self.slot(id))
    }

    /// Returns the sum of all integers; wraps on overflow.
    #[inline]
    pub(crate) fn sum(self) -> i64 {
        let sums = (0..shard_id::n_used()).map_while(|id| self.sums.get(self.slot_idx(id)));
        sums.fold(0, |all, sum| all.wrapping_add(sum.load(Ordering::Relaxed)))
    }

    /// Returns the sums of integers and of floats since the baseline.
    pub(crate) fn since_baseline(self) -> (i64, f64) {
        self.slots().fold((0, 0.0), |(sum, float), slot| {
            let baseline = slot.floats.sum_baseline.load(Ordering::Relaxed);
            let since = slot.sum.load(Ordering::Relaxed).wrapping_sub(baseline);
            (sum.wrapping_add(since), float + slot.floats.float_since_baseline())
        })
    }

    /// Sets the baseline to the current sums, and returns the sum of all integers. Only for the holder of the
    /// cell's version.
    pub(crate) fn set_baseline(self) -> i64 {
        self.slots().fold(0, |all, slot| {
            let sum = slot.sum.load(Ordering::Relaxed);
            // Stores only a different number, so that unused memory stays untouched.
            if slot.floats.sum_baseline.load(Ordering::Relaxed) != sum {
                slot.floats.sum_baseline.store(sum, Ordering::Relaxed);
            }
            if let Some(float) = slot.floats.float.load() {
                slot.floats.float_baseline.store(float);
            }
            all.wrapping_add(sum)
        })
    }

    /// Sets all words to zero. Only while no other thread exists. Writes only words that are not zero, so that
    /// unused memory stays untouched.
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

/// One stat in the shard of one thread: the sum of its integers, and its floats.
#[derive(Clone, Copy)]
pub(crate) struct ShardSlot<'r> {
    pub(crate) sum: &'r AtomicI64,
    floats: &'r FloatSlot,
}

impl ShardSlot<'_> {
    /// Adds an integer. Only for the owner.
    pub(crate) fn add_int(self, int: i64) {
        add(self.sum, int);
    }

    /// Adds a float. Only for the owner. Returns false, without effect, if the stat was set after this slot got its
    /// first float: a difference of sums cannot recover an addition to a large or infinite number.
    pub(crate) fn add_float(self, float: f64) -> bool {
        if self.floats.float_baseline.load().is_some() {
            // Pairs with the fence of the thread that set the baseline.
            fence(Ordering::Acquire);
            return false;
        }
        self.floats.float.store(self.floats.float.load_own().unwrap_or(0.0) + float);
        true
    }
}

#[inline]
fn add(sum: &AtomicI64, int: i64) {
    // Relaxed: there is one writer, and a reader sees this sum, but not what was written before it.
    let sum = opaque_ref(sum);
    sum.store(opaque_i64(sum.load_own().wrapping_add(int)), Ordering::Relaxed);
}

/// The sum of the floats that a thread added, and both sums when the stat was last set to a float.
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

    /// Adds a float if it is not the first of this slot and the stat was not set since. Only for the owner.
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
            // Compared first, because the difference of two infinities is NaN.
            (Some(float), Some(baseline)) if float.to_bits() == baseline.to_bits() => 0.0,
            (Some(float), Some(baseline)) => float - baseline,
        }
    }
}
