//! One stat by itself, for tests and models.
//!
//! Owns nothing but the stat: a cell, its mode and so many shards. What holds of it is in `tests` and in `models`.

use super::{Cell, Mode, Stat};
use crate::shard::Shards;
use crate::value::Value;

pub(crate) struct OneStat<const SHARDS: usize> {
    cell: Cell,
    mode: Mode,
    shards: Shards<1, SHARDS>,
}

impl<const SHARDS: usize> OneStat<SHARDS> {
    pub(crate) fn new() -> Self {
        Self { cell: Cell::new(), mode: Mode::new(), shards: Shards::new() }
    }

    fn stat(&self) -> Stat<'_> {
        Stat { cell: &self.cell, mode: &self.mode, column: self.shards.view().column(0) }
    }

    /// Adds as a thread does that has no shard.
    pub(crate) fn add(&self, value: Value) {
        self.stat().add(value);
    }

    /// Adds as the thread does that owns the first shard.
    #[cfg(loom)]
    pub(crate) fn add_own(&self, value: Value) {
        let words = self.shards.of(0, 0).unwrap();
        self.stat().begin_summing();
        match value {
            Value::Int(int) => words.sum.add(int),
            Value::Float(float) => self.stat().add_float_to(words, float),
        }
    }

    pub(crate) fn set(&self, value: Value) {
        self.stat().set(value);
    }

    pub(crate) fn get(&self) -> Value {
        self.cell.get(self.shards.view().column(0))
    }
}
