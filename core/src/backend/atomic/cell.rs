//! The state of one stat that all threads share, and the value that it makes together with their shards.
//!
//! Owns how increments and settings of integers and floats meet; what a concurrent reader may see is said at
//! [`StatCell`]. It knows neither names nor text. Threads without a shard increment here; those with one do so there (see
//! `shard`).

use super::float::AtomicFloat;
use super::shard_id;
use super::shards::{ShardSlot, StatShards};
use super::spin::Backoff;
use crate::backend::common::WriteOp;
use crate::line::Number;
use crate::sync::{AtomicI64, AtomicU8, AtomicU32, Ordering, const_new, fence};
use crate::value::Value;

/// A stat's value, in words that are never torn.
///
/// Invariant: while `float` is absent the value is `offset` and all sums, integers that wrap; once it is there, for
/// good, the value is `float` and what was added to the sums since it was set, and `offset` means nothing. Sums are
/// this cell's, of threads without a shard, and those of the stat's [`StatShards`]. Settings by integers go to `offset`
/// alone.
///
/// A setting of a stat that was never incremented is one store. Of one that was, an integer subtracts the sums from
/// the offset; a float marks what they stand at: then `version` is odd meanwhile, and readers and others who do the
/// same wait.
///
/// What another thread may see: an increment that runs at the same time as a setting is either part of what the
/// setting replaced or added to it, each one on its own; a setting that runs at the same time as the stat's first
/// float may be lost, as if it came first. A reader may see a newer increment of one thread and miss an older one
/// of another.
pub(crate) struct StatCell {
    sum: AtomicI64,
    offset: AtomicI64,
    float: AtomicFloat,
    version: AtomicU32,
}

/// A value as it goes into a cell and out of it: as it is.
pub(crate) type StoredValue = Value;

impl StoredValue {
    #[inline]
    pub(crate) const fn from_value(value: Value) -> Self {
        value
    }

    #[inline]
    pub(crate) const fn value(self) -> Value {
        self
    }

    /// Calls `write` with the value's text.
    #[inline]
    pub(crate) fn with_text<R>(self, write: impl FnOnce(&[u8]) -> R) -> R {
        Number::from(self).with_text(write)
    }
}

impl StatCell {
    const_new! {
        pub(crate) fn new() -> Self {
            Self {
                sum: AtomicI64::new(0),
                offset: AtomicI64::new(0),
                float: AtomicFloat::new(),
                version: AtomicU32::new(0),
            }
        }
    }
}

/// What was ever done to a stat. It changes twice at most, so it stands apart from what changes all the time: who only
/// sets a stat then reads nothing that another thread writes.
///
/// Invariant: it has `INCREMENTED` before the first increment, and `FLOAT` only after the float is there.
pub(crate) struct Mode(AtomicU8);

/// Only ever set, to integers.
const SET_ONLY: u8 = 0;
const INCREMENTED: u8 = 1;
const FLOAT: u8 = 2;

impl Mode {
    const_new! {
        pub(crate) fn new() -> Self {
            Self(AtomicU8::new(SET_ONLY))
        }
    }

    // Relaxed: the mode was set before the increments that it speaks of, and a thread that read one of them in `get`
    // sees it. One that never did may set by one store what another thread is adding to for the first time.
    #[inline]
    fn load(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }

    #[cold]
    fn insert(&self, mode: u8) {
        self.0.fetch_or(mode, Ordering::Relaxed);
        // Pairs with the fence in `get`: who reads what this thread adds from now on sees the mode as well.
        fence(Ordering::Release);
    }
}

/// All there is of one stat.
#[derive(Clone, Copy)]
pub(crate) struct StatRef<'r> {
    pub(crate) cell: &'r StatCell,
    pub(crate) mode: &'r Mode,
    pub(crate) shards: StatShards<'r>,
}

impl StatRef<'_> {
    #[inline]
    pub(crate) fn write(&self, op: WriteOp, value: Value) {
        if !self.write_fast(op, value) {
            self.write_slow(op, value);
        }
    }

    /// Writes with a few instructions; false, and nothing is done, where it is not as simple.
    #[inline]
    pub(crate) fn write_fast(&self, op: WriteOp, value: Value) -> bool {
        match (op, value) {
            (WriteOp::Add, _) => {
                self.mark_incremented();
                return self.shards.add_fast(value);
            }
            (WriteOp::Set, Value::Int(int)) if self.mode.load() == SET_ONLY => {
                self.cell.offset.store(int, Ordering::Release);
            }
            (WriteOp::Set, Value::Float(float)) if self.mode.load() == FLOAT => self.cell.float.store(float),
            _ => return false,
        }
        true
    }

    /// Writes whatever it takes.
    #[cold]
    pub(crate) fn write_slow(&self, op: WriteOp, value: Value) {
        match (op, self.shards.own_slot()) {
            (WriteOp::Set, _) => self.set_slow(value),
            (WriteOp::Add, Some(slot)) => self.add_to(slot, value),
            (WriteOp::Add, None) => {
                // The next increment of this thread finds its shard.
                if !self.shards.sums.is_empty() {
                    shard_id::acquire();
                }
                self.add_shared(value);
            }
        }
    }

    /// Gives a new stat, which is not published yet, its first value.
    pub(crate) fn init(&self, op: WriteOp, value: Value) {
        match op {
            WriteOp::Add => self.add_shared(value),
            WriteOp::Set => self.write(op, value),
        }
    }

    /// Adds to a stat that was added to before.
    #[inline]
    pub(crate) fn add_marked(&self, value: Value) {
        if !self.shards.add_fast(value) {
            match value {
                Value::Int(int) => self.add_int_slow(int),
                Value::Float(float) => self.add_float_slow(float),
            }
        }
    }

    /// Takes its value in a register, which keeps its callers quick.
    #[cold]
    #[inline(never)]
    fn add_int_slow(&self, int: i64) {
        self.write_slow(WriteOp::Add, Value::Int(int));
    }

    #[cold]
    #[inline(never)]
    fn add_float_slow(&self, float: f64) {
        self.write_slow(WriteOp::Add, Value::Float(float));
    }

    /// Makes the stat one that is incremented. Comes before an increment in a shard.
    #[inline]
    pub(crate) fn mark_incremented(&self) {
        if self.mode.load() & INCREMENTED == 0 {
            self.mode.insert(INCREMENTED);
        }
    }

    /// Adds in the cell, as any thread may.
    fn add_shared(&self, value: Value) {
        self.mark_incremented();
        match value {
            // Relaxed: a reader learns this number, not what was written before it.
            Value::Int(int) => {
                self.cell.sum.fetch_add(int, Ordering::Relaxed);
            }
            Value::Float(float) => {
                self.make_float();
                self.cell.float.add(float);
            }
        }
    }

    /// Adds to the words that the calling thread owns, or a float where all may.
    pub(crate) fn add_to(&self, slot: ShardSlot<'_>, value: Value) {
        match value {
            Value::Int(int) => slot.add_int(int),
            Value::Float(float) => {
                self.make_float();
                if !slot.add_float(float) {
                    self.cell.float.add(float);
                }
            }
        }
    }

    /// Makes the stat a float, if it is none. Comes before a float's increment.
    fn make_float(&self) {
        let cell = self.cell;
        if cell.float.load().is_some() {
            return;
        }
        cell.replace(|| {
            if cell.float.load().is_none() {
                // The float from now on stands for all that there was, added up while it was exact.
                let sums = cell.sum.swap(0, Ordering::Relaxed).wrapping_add(self.shards.set_baseline());
                cell.float.replace(cell.offset.load(Ordering::Relaxed).wrapping_add(sums) as f64);
            }
        });
    }

    fn set_slow(&self, value: Value) {
        let cell = self.cell;
        let was_incremented = self.mode.load() & INCREMENTED != 0;
        match value {
            Value::Int(int) if cell.float.load().is_none() => {
                let sums = cell.sum.load(Ordering::Relaxed).wrapping_add(self.shards.sum());
                // Release pairs with the Acquire in `get`: who sees this offset sees at least these sums.
                cell.offset.store(int.wrapping_sub(sums), Ordering::Release);
            }
            _ if was_incremented => cell.replace(|| {
                cell.sum.swap(0, Ordering::Relaxed);
                cell.float.replace(value.as_f64());
                // Pairs with the fence in `add_float`: who sees a mark adds to the new value.
                fence(Ordering::Release);
                self.shards.set_baseline();
            }),
            _ => {
                // An increment that comes from now on is added to the new value.
                cell.float.store(value.as_f64());
                self.mode.insert(FLOAT);
            }
        }
    }
}

impl StatCell {
    /// Returns the value of the stat whose shards this is.
    #[inline]
    pub(crate) fn get(&self, shards: StatShards<'_>) -> Value {
        let mut backoff = Backoff::new();
        loop {
            // Acquire pairs with the Release that ends `replace`: what it stored is seen.
            let before = self.version.load(Ordering::Acquire);
            let value = match self.float.load() {
                None => {
                    // Acquire pairs with the Release in `set_slow`.
                    let offset = self.offset.load(Ordering::Acquire);
                    let sum = self.sum.load(Ordering::Relaxed);
                    Value::Int(offset.wrapping_add(sum).wrapping_add(shards.sum()))
                }
                Some(float) => Value::Float(self.add_since_baseline(float, shards)),
            };
            // Pairs with the fence in `replace`: had we seen one of its stores, we would see its odd version.
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == before {
                return value;
            }
            backoff.wait();
        }
    }

    /// Returns what `float` has become since it was set.
    #[inline(never)]
    fn add_since_baseline(&self, float: f64, shards: StatShards<'_>) -> f64 {
        let (since, float_since) = shards.since_baseline();
        let since = since.wrapping_add(self.sum.load(Ordering::Relaxed));
        // Nothing is added where nothing is to be: -0.0 + 0.0 is 0.0.
        let float = if since == 0 { float } else { float + since as f64 };
        if float_since == 0.0 { float } else { float + float_since }
    }

    /// Sets the stat to zero; a float stays one. While no other thread exists: one that was in the middle of a
    /// replacement is gone.
    #[cfg(feature = "std")]
    pub(crate) fn reset(&self, shards: StatShards<'_>) {
        shards.clear();
        self.sum.store(0, Ordering::Relaxed);
        self.offset.store(0, Ordering::Relaxed);
        if self.float.load().is_some() {
            self.float.store(0.0);
        }
        self.version.store(0, Ordering::Relaxed);
    }

    /// Calls `stores` while readers wait, one caller at a time.
    #[cold]
    fn replace(&self, stores: impl FnOnce()) {
        let mut backoff = Backoff::new();
        let version = loop {
            let even = self.version.load(Ordering::Relaxed) & !1;
            let odd = even.wrapping_add(1);
            // Acquire pairs with the Release below, of whoever replaced before us.
            if self.version.compare_exchange_weak(even, odd, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                break even;
            }
            backoff.wait();
        };
        // Pairs with the fence in `get`.
        fence(Ordering::Release);
        stores();
        // Release pairs with the Acquire loads in `get` and above.
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
