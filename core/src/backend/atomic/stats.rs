//! The values of all stats, as threads keep them.
//!
//! Owns where a stat's parts are, and what may be done by a number alone. What one stat is made of is `cell`'s and
//! `shard`'s.

use super::cell::{Cell, Mode, Stat, Stored};
use super::shard::{Shards, ShardsView};
use crate::backend::Change;
use crate::sync::{const_new, filled};
use crate::value::Value;

/// `STATS` stats, each with a word in each of `SHARDS` shards. What is done to a number that is none is ignored.
pub(crate) struct StatStore<const STATS: usize, const SHARDS: usize> {
    cells: [Cell; STATS],
    modes: [Mode; STATS],
    shards: Shards<STATS, SHARDS>,
}

impl<const STATS: usize, const SHARDS: usize> StatStore<STATS, SHARDS> {
    const_new! {
        pub(crate) fn new() -> Self {
            Self {
                cells: filled![Cell::new(); STATS],
                modes: filled![Mode::new(); STATS],
                shards: Shards::new(),
            }
        }
    }

    /// Adds to the calling thread's own word of a stat that was added to before; false, and nothing is done, where it is
    /// not as simple.
    #[inline]
    pub(crate) fn add_own(&self, idx: usize, value: Value) -> bool {
        self.shards.add_own(idx, value)
    }

    /// Writes with a few instructions; false, and nothing is done, where it is not as simple.
    #[inline]
    pub(crate) fn write_fast(&self, idx: usize, change: Change, value: Stored) -> bool {
        self.stat(idx).is_some_and(|stat| stat.write_fast(change, value))
    }

    #[inline]
    pub(crate) fn write(&self, idx: usize, change: Change, value: Stored) {
        if !self.write_fast(idx, change, value) {
            self.write_slow(idx, change, value);
        }
    }

    /// Apart, so that `write` passes it no more than it has at hand.
    #[cold]
    fn write_slow(&self, idx: usize, change: Change, value: Stored) {
        if let Some(stat) = self.stat(idx) {
            stat.write_slow(change, value);
        }
    }

    #[inline]
    pub(crate) fn stat(&self, idx: usize) -> Option<Stat<'_>> {
        let (cell, mode) = (self.cells.get(idx)?, self.modes.get(idx)?);
        Some(Stat { cell, mode, column: self.shards.view().column(idx) })
    }

    #[inline]
    pub(crate) fn view(&self) -> StatsView<'_> {
        StatsView { cells: &self.cells, shards: self.shards.view() }
    }
}

/// All stats, to be read, without the capacities in the type.
#[derive(Clone, Copy)]
pub(crate) struct StatsView<'r> {
    cells: &'r [Cell],
    shards: ShardsView<'r>,
}

impl StatsView<'_> {
    #[inline]
    pub(crate) fn get(self, idx: usize) -> Option<Stored> {
        Some(self.cells.get(idx)?.get(self.shards.column(idx)))
    }

    /// Sets the first `n_stats` to zero; while no other thread exists.
    #[cfg(feature = "std")]
    pub(crate) fn reset(self, n_stats: usize) {
        for (idx, cell) in self.cells.iter().take(n_stats).enumerate() {
            cell.reset(self.shards.column(idx));
        }
    }
}
