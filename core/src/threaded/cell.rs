//! The state of one stat that all threads share, and the value that it makes together with their shards.
//!
//! Owns how increments and settings of integers and floats meet; what a concurrent reader may see is said at
//! [`Cell`]. It knows neither names nor text. Threads without a shard increment here; those with one do so there (see
//! `shard`).

use super::float::AtomicFloat;
use crate::line::Number;
use crate::shard::{Column, Words};
use crate::sync::{AtomicI64, AtomicU8, AtomicU32, Backoff, Ordering, const_new, fence};
use crate::thread_number;
use crate::value::Value;

/// A stat's value, in words that are never torn.
///
/// Invariant: while `float` is absent the value is `level` and all sums, integers that wrap; once it is there, for
/// good, the value is `float` and what was added to the sums since it was set, and `level` means nothing. Sums are
/// this cell's, of threads without a shard, and those of the stat's [`Column`]. Settings by integers go to `level`
/// alone.
///
/// A setting of a stat that was never incremented is one store. Of one that was, an integer subtracts the sums from
/// the level; a float marks what they stand at: then `version` is odd meanwhile, and readers and others who do the
/// same wait.
///
/// What another thread may see: an increment that runs at the same time as a setting is either part of what the
/// setting replaced or added to it, each one on its own; a setting that runs at the same time as the stat's first
/// float may be lost, as if it came first. A reader may see a newer increment of one thread and miss an older one
/// of another.
pub(crate) struct Cell {
    sum: AtomicI64,
    level: AtomicI64,
    float: AtomicFloat,
    version: AtomicU32,
}

/// A value as it goes into a cell and out of it: as it is.
pub(crate) type Stored = Value;

impl Stored {
    #[inline]
    pub(crate) const fn of(value: Value) -> Self {
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

impl Cell {
    const_new! {
        pub(crate) fn new() -> Self {
            Self {
                sum: AtomicI64::new(0),
                level: AtomicI64::new(0),
                float: AtomicFloat::new(),
                version: AtomicU32::new(0),
            }
        }
    }
}

/// What was ever done to a stat. It changes twice at most, so it stands apart from what changes all the time: who only
/// sets a stat then reads nothing that another thread writes.
///
/// Invariant: it has `SUMMED` before the first increment, and `FLOAT` only after the float is there.
pub(crate) struct Mode(AtomicU8);

/// Only ever set, to integers.
const FRESH: u8 = 0;
const SUMMED: u8 = 1;
const FLOAT: u8 = 2;

impl Mode {
    const_new! {
        pub(crate) fn new() -> Self {
            Self(AtomicU8::new(FRESH))
        }
    }

    // Relaxed: the mode was set before the increments that it speaks of, and a thread that read one of them in `get`
    // sees it. One that never did may set by one store what another thread is adding to for the first time.
    #[inline]
    fn load(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }

    #[cold]
    fn add(&self, mode: u8) {
        self.0.fetch_or(mode, Ordering::Relaxed);
        // Pairs with the fence in `get`: who reads what this thread adds from now on sees the mode as well.
        fence(Ordering::Release);
    }
}

/// All there is of one stat.
#[derive(Clone, Copy)]
pub(crate) struct Stat<'r> {
    pub(crate) cell: &'r Cell,
    pub(crate) mode: &'r Mode,
    pub(crate) column: Column<'r>,
}

impl Stat<'_> {
    /// Adds, in the calling thread's shard or else in the cell; wraps on overflow of the integer.
    #[inline]
    pub(crate) fn add(&self, value: Value) {
        if !self.add_quickly(value) {
            self.add_slowly(value);
        }
    }

    /// Adds to a stat that is known to be incremented, by [`begin_summing`](Self::begin_summing).
    #[inline]
    pub(crate) fn add_to_summed(&self, value: Value) {
        if !self.column.add_own(value) {
            match value {
                Value::Int(int) => self.add_int_slowly(int),
                Value::Float(float) => self.add_float_slowly(float),
            }
        }
    }

    /// Takes its value in a register, which keeps those quick who call it.
    #[cold]
    #[inline(never)]
    fn add_int_slowly(&self, int: i64) {
        self.add_slowly(Value::Int(int));
    }

    #[cold]
    #[inline(never)]
    fn add_float_slowly(&self, float: f64) {
        self.add_slowly(Value::Float(float));
    }

    /// Adds to the calling thread's own word; false, and nothing is done, where it is not as simple.
    ///
    /// Apart from [`add_slowly`](Self::add_slowly), so that whoever calls both passes it no more than it has at hand.
    #[inline]
    pub(crate) fn add_quickly(&self, value: Value) -> bool {
        self.begin_summing();
        self.column.add_own(value)
    }

    /// Makes the stat one that is incremented. Comes before an increment in a shard.
    #[inline]
    pub(crate) fn begin_summing(&self) {
        if self.mode.load() & SUMMED == 0 {
            self.mode.add(SUMMED);
        }
    }

    /// Adds whatever it takes.
    #[cold]
    pub(crate) fn add_slowly(&self, value: Value) {
        match (self.column.own(), value) {
            (Some(words), Value::Int(int)) => words.sum.add(int),
            (Some(words), Value::Float(float)) => self.add_float_to(words, float),
            (None, value) => {
                // The next increment of this thread finds its shard.
                if self.column.has_shards() {
                    thread_number::take();
                }
                self.add_shared(value);
            }
        }
    }

    /// Adds in the cell, as any thread may.
    pub(crate) fn add_shared(&self, value: Value) {
        self.begin_summing();
        match value {
            // Relaxed: a reader learns this number, not what was written before it.
            Value::Int(int) => {
                self.cell.sum.fetch_add(int, Ordering::Relaxed);
            }
            Value::Float(float) => {
                self.begin_float();
                self.cell.float.add(float);
            }
        }
    }

    /// Adds a float to the words that the calling thread owns, or where all may.
    pub(crate) fn add_float_to(&self, words: Words<'_>, float: f64) {
        self.begin_float();
        if !words.add_float(float) {
            self.cell.float.add(float);
        }
    }

    /// Makes the stat a float, if it is none. Comes before a float's increment.
    fn begin_float(&self) {
        let cell = self.cell;
        if cell.float.load().is_some() {
            return;
        }
        cell.replace(|| {
            if cell.float.load().is_none() {
                // The float from now on stands for all that there was, added up while it was exact.
                let sums = cell.sum.swap(0, Ordering::Relaxed).wrapping_add(self.column.mark());
                cell.float.replace(cell.level.load(Ordering::Relaxed).wrapping_add(sums) as f64);
            }
        });
    }

    #[inline]
    pub(crate) fn set(&self, value: Value) {
        if !self.set_quickly(value) {
            self.set_slowly(value);
        }
    }

    /// Sets by one store; false, and nothing is done, where it is not as simple.
    #[inline]
    pub(crate) fn set_quickly(&self, value: Value) -> bool {
        match (value, self.mode.load()) {
            (Value::Int(int), FRESH) => self.cell.level.store(int, Ordering::Release),
            (Value::Float(float), FLOAT) => self.cell.float.store(float),
            _ => return false,
        }
        true
    }

    /// Sets whatever it takes.
    #[cold]
    pub(crate) fn set_slowly(&self, value: Value) {
        let cell = self.cell;
        let is_summed = self.mode.load() & SUMMED != 0;
        match value {
            Value::Int(int) if cell.float.load().is_none() => {
                let sums = cell.sum.load(Ordering::Relaxed).wrapping_add(self.column.sum());
                // Release pairs with the Acquire in `get`: who sees this level sees at least these sums.
                cell.level.store(int.wrapping_sub(sums), Ordering::Release);
            }
            _ if is_summed => cell.replace(|| {
                cell.sum.swap(0, Ordering::Relaxed);
                cell.float.replace(value.as_f64());
                // Pairs with the fence in `add_float`: who sees a mark adds to the new value.
                fence(Ordering::Release);
                self.column.mark();
            }),
            _ => {
                // An increment that comes from now on is added to the new value.
                cell.float.store(value.as_f64());
                self.mode.add(FLOAT);
            }
        }
    }
}

impl Cell {
    /// Returns the value of the stat whose column this is.
    #[inline]
    pub(crate) fn get(&self, column: Column<'_>) -> Value {
        self.int(column).map_or_else(|| self.get_slowly(column), Value::Int)
    }

    /// The value, if it is an integer and nobody makes it a float right now.
    #[inline]
    fn int(&self, column: Column<'_>) -> Option<i64> {
        // All orderings as in `get_slowly`, of which this is the first turn for an integer.
        let before = self.version.load(Ordering::Acquire);
        if self.float.load().is_some() {
            return None;
        }
        let level = self.level.load(Ordering::Acquire);
        let int = level.wrapping_add(self.sum.load(Ordering::Relaxed)).wrapping_add(column.sum());
        fence(Ordering::Acquire);
        (before.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == before).then_some(int)
    }

    #[inline(never)]
    fn get_slowly(&self, column: Column<'_>) -> Value {
        let mut backoff = Backoff::new();
        loop {
            // Acquire pairs with the Release that ends `replace`: what it stored is seen.
            let before = self.version.load(Ordering::Acquire);
            let value = match self.float.load() {
                None => {
                    // Acquire pairs with the Release in `set_slowly`.
                    let level = self.level.load(Ordering::Acquire);
                    Value::Int(
                        level.wrapping_add(self.sum.load(Ordering::Relaxed)).wrapping_add(column.sum()),
                    )
                }
                Some(float) => {
                    let (since, float_since) = column.since_mark();
                    let since = since.wrapping_add(self.sum.load(Ordering::Relaxed));
                    // Nothing is added where nothing is to be: -0.0 + 0.0 is 0.0.
                    let float = if since == 0 { float } else { float + since as f64 };
                    Value::Float(if float_since == 0.0 { float } else { float + float_since })
                }
            };
            // Pairs with the fence in `replace`: had we seen one of its stores, we would see its odd version.
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == before {
                return value;
            }
            backoff.wait();
        }
    }

    /// Sets the stat, with all that stands in its column, to zero; a float stays one. While no other thread exists:
    /// one that was in the middle of a replacement is gone.
    #[cfg(feature = "std")]
    pub(crate) fn start_over(&self, column: Column<'_>) {
        column.clear();
        self.sum.store(0, Ordering::Relaxed);
        self.level.store(0, Ordering::Relaxed);
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

#[cfg(test)]
mod one_stat;
#[cfg(test)]
pub(crate) use one_stat::OneStat;

#[cfg(all(test, not(loom)))]
mod tests;
