//! Value of one stat: the cell that all threads share, combined with the shards.
//!
//! Owns how `incr` and `set` combine, for integers and floats; see [`StatCell`] for what concurrent readers may see.
//! It knows neither names nor text. Threads without a shard increment the cell, the others their shard
//! (see `shards`).

use super::float::AtomicFloat;
use super::shard_id;
use super::shards::{ShardSlot, StatShards};
use super::spin::Backoff;
use crate::backend::write_op::WriteOp;
use crate::line::Number;
use crate::sync::{AtomicI64, AtomicU8, AtomicU32, Ordering, const_new, fence};
use crate::value::Value;

/// The shared part of a stat's value, in words that are never torn.
///
/// Invariant: while `float` is absent, the value is `offset` plus all sums, integers that wrap. Once `float` is
/// present, it stays present: the value is `float` plus the increments since it was set, and `offset` is unused. The
/// sums are `sum`, for threads without a shard, and those of the stat's [`StatShards`]. A `set` of an integer changes
/// only `offset`.
///
/// A `set` of a stat that was never incremented is one store. After an increment, a `set` of an integer stores in
/// `offset` the integer minus the sums. A `set` of a float stores the float and makes the current sums its baseline,
/// under a seqlock: `version` is odd in the meantime, and readers and other writers of a float wait.
///
/// What other threads may see:
///
/// - A concurrent `set` replaces an increment, or the increment is added to it. This holds for each increment by
///   itself.
/// - A `set` concurrent with the first float of the stat may be lost, as if it came first.
/// - A reader may see a newer increment of one thread and miss an older increment of another.
pub(crate) struct StatCell {
    sum: AtomicI64,
    offset: AtomicI64,
    float: AtomicFloat,
    version: AtomicU32,
}

/// A value on its way into a cell and out of it, unchanged in this backend.
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

    /// Calls `write` with the text of the value.
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

/// Kinds of writes that a stat ever had. It changes at most twice, so it is stored apart from words that change
/// often: a thread that only sets a stat reads no word that other threads write.
///
/// Invariant: `INCREMENTED` is set before the first increment, `FLOAT` only after the float is present.
pub(crate) struct Mode(AtomicU8);

/// Only set so far, to integers.
const SET_ONLY: u8 = 0;
const INCREMENTED: u8 = 1;
const FLOAT: u8 = 2;

impl Mode {
    const_new! {
        pub(crate) fn new() -> Self {
            Self(AtomicU8::new(SET_ONLY))
        }
    }

    // Relaxed: the mode is set before the increments that it announces, and a thread that read such an increment in
    // `get` sees the mode as well. A thread that read none may set by one store while another thread makes the
    // first increment.
    #[inline]
    fn load(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }

    #[cold]
    fn insert(&self, mode: u8) {
        self.0.fetch_or(mode, Ordering::Relaxed);
        // Pairs with the fence in `get`: a thread that reads a later increment of this thread also sees the mode.
        fence(Ordering::Release);
    }
}

/// References to all parts of one stat.
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

    /// Writes with a few instructions. Returns false, without effect, if only the slow path can write.
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

    /// Writes in all cases.
    #[cold]
    pub(crate) fn write_slow(&self, op: WriteOp, value: Value) {
        match (op, self.shards.own_slot()) {
            (WriteOp::Set, _) => self.set_slow(value),
            (WriteOp::Add, Some(slot)) => self.add_to(slot, value),
            (WriteOp::Add, None) => {
                // The next increment of this thread goes to its shard.
                if !self.shards.sums.is_empty() {
                    shard_id::acquire();
                }
                self.add_shared(value);
            }
        }
    }

    /// Writes the first value of a new stat, before its name is published.
    pub(crate) fn init(&self, op: WriteOp, value: Value) {
        match op {
            WriteOp::Add => self.add_shared(value),
            WriteOp::Set => self.write(op, value),
        }
    }

    /// Adds to a stat after [`mark_incremented`](Self::mark_incremented).
    #[inline]
    pub(crate) fn add_marked(&self, value: Value) {
        if !self.shards.add_fast(value) {
            match value {
                Value::Int(int) => self.add_int_slow(int),
                Value::Float(float) => self.add_float_slow(float),
            }
        }
    }

    /// Receives its value in a register, which keeps the callers fast.
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

    /// Marks the stat as incremented. Must come before an increment in a shard.
    #[inline]
    pub(crate) fn mark_incremented(&self) {
        if self.mode.load() & INCREMENTED == 0 {
            self.mode.insert(INCREMENTED);
        }
    }

    /// Adds in the shared cell.
    fn add_shared(&self, value: Value) {
        self.mark_incremented();
        match value {
            // Relaxed: a reader sees this sum, but not what was written before it.
            Value::Int(int) => {
                self.cell.sum.fetch_add(int, Ordering::Relaxed);
            }
            Value::Float(float) => {
                self.make_float();
                self.cell.float.add(float);
            }
        }
    }

    /// Adds to the calling thread's own slot, or a float to the shared cell if the slot cannot hold it.
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

    /// Turns the stat into a float if it is an integer. Must come before the increment by a float.
    fn make_float(&self) {
        let cell = self.cell;
        if cell.float.load().is_some() {
            return;
        }
        cell.replace(|| {
            if cell.float.load().is_none() {
                // The float includes all earlier increments, added as integers while they were exact.
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
                // Release pairs with the Acquire in `get`: a reader of this offset sees at least these sums.
                cell.offset.store(int.wrapping_sub(sums), Ordering::Release);
            }
            _ if was_incremented => cell.replace(|| {
                cell.sum.swap(0, Ordering::Relaxed);
                cell.float.replace(value.as_f64());
                // Pairs with the fence in `add_float`: a thread that sees a baseline adds to the new value.
                fence(Ordering::Release);
                self.shards.set_baseline();
            }),
            _ => {
                // Later increments are added to the new value.
                cell.float.store(value.as_f64());
                self.mode.insert(FLOAT);
            }
        }
    }
}

impl StatCell {
    /// Returns the value of the stat with these shards.
    #[inline]
    pub(crate) fn get(&self, shards: StatShards<'_>) -> Value {
        let mut backoff = Backoff::new();
        loop {
            // Acquire pairs with the Release at the end of `replace`: its stores are visible.
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
            // Pairs with the fence in `replace`: if a load above saw one of its stores, the load below sees its odd
            // version.
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == before {
                return value;
            }
            backoff.wait();
        }
    }

    /// Returns `float` plus the increments since it was set.
    #[inline(never)]
    fn add_since_baseline(&self, float: f64, shards: StatShards<'_>) -> f64 {
        let (int_since, float_since) = shards.since_baseline();
        let int_since = int_since.wrapping_add(self.sum.load(Ordering::Relaxed));
        // Zero is not added, because -0.0 + 0.0 is 0.0.
        let float = if int_since == 0 { float } else { float + int_since as f64 };
        if float_since == 0.0 { float } else { float + float_since }
    }

    /// Sets the stat to zero; a float stays a float. Only while no other thread exists: a thread that was inside
    /// `replace` is gone.
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

    /// Calls `stores` while readers wait, for one caller at a time: the write side of the seqlock.
    #[cold]
    fn replace(&self, stores: impl FnOnce()) {
        let mut backoff = Backoff::new();
        let version = loop {
            let even = self.version.load(Ordering::Relaxed) & !1;
            let odd = even.wrapping_add(1);
            // Acquire pairs with the Release below, of the previous writer.
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
