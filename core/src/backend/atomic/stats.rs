//! Store of the values of all stats, for threads.
//!
//! Owns the layout of the parts of a stat, and the fast paths that need only an index. `cell` and `shards` own the
//! parts.

use super::cell::{Mode, StatCell, StatRef, StoredValue};
use super::shard_id;
use super::shards::{FloatSlot, StatShards};
use crate::backend::write_op::WriteOp;
use crate::sync::{AtomicI64, const_new, filled};
use crate::value::Value;

/// `STATS` stats, each with a slot in each of `SHARDS` shards. Without shards all threads share the cells, and
/// shards cost nothing. An invalid index is ignored.
///
/// The sums of integers come first in the registry, so that one instruction computes their address.
#[repr(C, align(128))]
pub(crate) struct StatStore<const STATS: usize, const SHARDS: usize> {
    sums: [[AtomicI64; STATS]; SHARDS],
    floats: [[FloatSlot; STATS]; SHARDS],
    cells: [StatCell; STATS],
    modes: [Mode; STATS],
}

impl<const STATS: usize, const SHARDS: usize> StatStore<STATS, SHARDS> {
    const_new! {
        pub(crate) fn new() -> Self {
            Self {
                sums: filled![filled![AtomicI64::new(0); STATS]; SHARDS],
                floats: filled![filled![FloatSlot::new(); STATS]; SHARDS],
                cells: filled![StatCell::new(); STATS],
                modes: filled![Mode::new(); STATS],
            }
        }
    }

    /// Adds to the calling thread's own word of a stat that is marked as incremented. Returns false, without
    /// effect, if only the slow path can add.
    #[inline]
    pub(crate) fn add_fast(&self, idx: usize, value: Value) -> bool {
        // One comparison covers both: an invalid id or index lies beyond all slots.
        let slot_idx = shard_id::current().times(STATS).wrapping_add(idx);
        self.view().shards(idx).add_fast_at(slot_idx, value)
    }

    /// Writes with a few instructions. Returns false, without effect, if only the slow path can write.
    #[inline]
    pub(crate) fn write_fast(&self, idx: usize, op: WriteOp, value: StoredValue) -> bool {
        self.stat(idx).is_some_and(|stat| stat.write_fast(op, value))
    }

    #[inline]
    pub(crate) fn write(&self, idx: usize, op: WriteOp, value: StoredValue) {
        if !self.write_fast(idx, op, value) {
            self.write_slow(idx, op, value);
        }
    }

    /// A function of its own, so that `write` passes only what it already has in registers.
    #[cold]
    fn write_slow(&self, idx: usize, op: WriteOp, value: StoredValue) {
        if let Some(stat) = self.stat(idx) {
            stat.write_slow(op, value);
        }
    }

    #[inline]
    pub(crate) fn stat(&self, idx: usize) -> Option<StatRef<'_>> {
        let (cell, mode) = (self.cells.get(idx)?, self.modes.get(idx)?);
        Some(StatRef { cell, mode, shards: self.view().shards(idx) })
    }

    #[inline]
    pub(crate) fn view(&self) -> StatsView<'_> {
        let (sums, floats) = (self.sums.as_flattened(), self.floats.as_flattened());
        StatsView { cells: &self.cells, sums, floats }
    }
}

/// Reader of all stats, without the capacities in the type.
#[derive(Clone, Copy)]
pub(crate) struct StatsView<'r> {
    cells: &'r [StatCell],
    sums: &'r [AtomicI64],
    floats: &'r [FloatSlot],
}

impl<'r> StatsView<'r> {
    #[inline]
    fn shards(self, idx: usize) -> StatShards<'r> {
        StatShards { sums: self.sums, floats: self.floats, n_stats: self.cells.len(), idx }
    }

    #[inline]
    pub(crate) fn get(self, idx: usize) -> Option<StoredValue> {
        Some(self.cells.get(idx)?.get(self.shards(idx)))
    }

    /// Sets the first `n_stats` to zero. Only while no other thread exists.
    #[cfg(feature = "std")]
    pub(crate) fn reset(self, n_stats: usize) {
        for (idx, cell) in self.cells.iter().take(n_stats).enumerate() {
            cell.reset(self.shards(idx));
        }
    }
}
