//! What each thread writes by itself: a shard of counts and sample rings for each of a registry's numbered threads.
//!
//! Owns the words that have one writer, and reading across them. Whose shard is whose is `thread_number`'s; how
//! a stat's value is made of them is `cell`'s.
//!
//! Invariant: the words of shard `k` are written by the thread of number `k` alone, by a relaxed load and a relaxed
//! store; the marks beside them by whoever holds the cell's version. Words only grow by what was added: nobody sets
//! them back.

use super::float::AtomicFloat;
use super::in_register::{in_register, summed};
use super::thread_number;
use crate::sync::{AtomicI64, Ordering, OwnWord, const_new, fence, filled};
use crate::value::Value;

/// `SHARDS` shards for `STATS` stats; with none of them all threads share the cells, and nothing is paid.
///
/// What integers are added to lies by itself, so that its address is computed by one instruction.
#[repr(align(128))]
pub(crate) struct Shards<const STATS: usize, const SHARDS: usize> {
    sums: [[Sum; STATS]; SHARDS],
    others: [[Others; STATS]; SHARDS],
}

impl<const STATS: usize, const SHARDS: usize> Shards<STATS, SHARDS> {
    const_new! {
        pub(crate) fn new() -> Self {
            Self {
                sums: filled![filled![Sum::new(); STATS]; SHARDS],
                others: filled![filled![Others::new(); STATS]; SHARDS],
            }
        }
    }

    /// Adds to the calling thread's own word of a stat; false, and nothing is done, where it is not as simple.
    #[inline]
    pub(crate) fn add_own(&self, idx: usize, value: Value) -> bool {
        // One comparison for both: a number or an index that is none lies beyond all words.
        self.view().add_at(thread_number::current().times(STATS).wrapping_add(idx), value)
    }

    #[inline]
    pub(crate) fn view(&self) -> ShardsView<'_> {
        ShardsView { sums: self.sums.as_flattened(), others: self.others.as_flattened(), n_stats: STATS }
    }
}

/// The shards to read from, without the capacities in their type.
#[derive(Clone, Copy)]
pub(crate) struct ShardsView<'r> {
    sums: &'r [Sum],
    others: &'r [Others],
    n_stats: usize,
}

impl<'r> ShardsView<'r> {
    /// Returns all words of one stat.
    #[inline]
    pub(crate) fn column(self, idx: usize) -> Column<'r> {
        Column { shards: self, idx }
    }

    /// Where the words of a stat are in the calling thread's shard; beyond all if it has none.
    #[inline]
    fn own_place(self, idx: usize) -> usize {
        thread_number::current().get().wrapping_mul(self.n_stats).wrapping_add(idx)
    }

    #[inline]
    fn add_at(self, place: usize, value: Value) -> bool {
        match value {
            Value::Int(int) => self.sums.get(place).map(|sum| sum.add(int)).is_some(),
            Value::Float(float) => self.others.get(place).is_some_and(|others| others.add_fast(float)),
        }
    }

    fn words(self, place: usize) -> Option<Words<'r>> {
        Some(Words { sum: self.sums.get(place)?, others: self.others.get(place)? })
    }
}

/// One stat in all shards that were ever used.
#[derive(Clone, Copy)]
pub(crate) struct Column<'r> {
    shards: ShardsView<'r>,
    idx: usize,
}

impl<'r> Column<'r> {
    /// Adds to the calling thread's own word; false, and nothing is done, where it is not as simple.
    #[inline]
    pub(crate) fn add_own(self, value: Value) -> bool {
        self.shards.add_at(self.shards.own_place(self.idx), value)
    }

    /// Returns the calling thread's own words; `None` where it has no shard.
    pub(crate) fn own(self) -> Option<Words<'r>> {
        self.shards.words(self.shards.own_place(self.idx))
    }

    /// Returns the words that the thread of this number owns.
    #[cfg(all(test, loom))]
    pub(crate) fn of(self, number: usize) -> Option<Words<'r>> {
        self.shards.words(number * self.shards.n_stats + self.idx)
    }

    pub(crate) fn has_shards(self) -> bool {
        !self.shards.sums.is_empty()
    }

    /// Of the shards that were used by now. Whoever saw what a thread wrote sees its shard here as well.
    fn words(self) -> impl Iterator<Item = Words<'r>> {
        self.places().map_while(move |place| self.shards.words(place))
    }

    #[inline]
    fn sums(self) -> impl Iterator<Item = &'r Sum> {
        self.places().map_while(move |place| self.shards.sums.get(place))
    }

    /// Where the words are, until there are no more shards.
    #[inline]
    fn places(self) -> impl Iterator<Item = usize> {
        (0..thread_number::n_used()).map(move |number| number.wrapping_mul(self.shards.n_stats) + self.idx)
    }

    /// Returns the sum of all integers; wraps.
    #[inline]
    pub(crate) fn sum(self) -> i64 {
        self.sums().fold(0, |all, sum| all.wrapping_add(sum.load()))
    }

    /// Returns what was added since the marks: integers and floats.
    pub(crate) fn since_mark(self) -> (i64, f64) {
        self.words().fold((0, 0.0), |(sum, float), words| {
            let since = words.sum.load().wrapping_sub(words.others.sum_mark.load(Ordering::Relaxed));
            (sum.wrapping_add(since), float + words.float_since_mark())
        })
    }

    /// Sets all words to zero; while no other thread exists.
    #[cfg(feature = "std")]
    pub(crate) fn clear(self) {
        self.words().for_each(Words::clear);
    }

    /// Sets the marks to what the words stand at, and returns the sum of all integers; for the holder of the cell's
    /// version.
    pub(crate) fn mark(self) -> i64 {
        self.words().fold(0, |all, words| {
            let sum = words.sum.load();
            // Only what is new is written, so that memory that was never used stays so.
            if words.others.sum_mark.load(Ordering::Relaxed) != sum {
                words.others.sum_mark.store(sum, Ordering::Relaxed);
            }
            if let Some(float) = words.others.float.load() {
                words.others.float_mark.store(float);
            }
            all.wrapping_add(sum)
        })
    }
}

/// A thread's share of one stat.
#[derive(Clone, Copy)]
pub(crate) struct Words<'r> {
    pub(crate) sum: &'r Sum,
    others: &'r Others,
}

/// The integers that a thread added.
pub(crate) struct Sum(AtomicI64);

/// The floats that a thread added, and what floats and integers stood at when the stat was last set to a float.
struct Others {
    float: AtomicFloat,
    sum_mark: AtomicI64,
    float_mark: AtomicFloat,
}

impl Sum {
    const_new! {
        fn new() -> Self {
            Self(AtomicI64::new(0))
        }
    }

    /// Adds an integer; for the owner alone.
    #[inline]
    pub(crate) fn add(&self, int: i64) {
        // Relaxed: one writer, and a reader learns this number, not what was written before it.
        let sum = &in_register(self).0;
        sum.store(summed(sum.load_own().wrapping_add(int)), Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn load(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Others {
    const_new! {
        fn new() -> Self {
            Self { float: AtomicFloat::new(), sum_mark: AtomicI64::new(0), float_mark: AtomicFloat::new() }
        }
    }

    /// Adds a float that is not the word's first, to a stat that was not set since; for the owner alone.
    #[inline]
    fn add_fast(&self, float: f64) -> bool {
        let others = in_register(self);
        match (others.float.load_own(), others.float_mark.load()) {
            (Some(sum), None) => {
                others.float.store(sum + float);
                true
            }
            _ => false,
        }
    }
}

impl Words<'_> {
    /// Adds a float; for the owner alone. False, and nothing is done, where the stat was set since this word had its
    /// first: what is added to a large number, or to an infinite one, is not to be found by a difference.
    pub(crate) fn add_float(self, float: f64) -> bool {
        if self.others.float_mark.load().is_some() {
            // Pairs with the fence of whoever marked it.
            fence(Ordering::Acquire);
            return false;
        }
        self.others.float.store(self.others.float.load_own().unwrap_or(0.0) + float);
        true
    }

    /// Writes only what is not zero yet, so that memory that was never used stays so.
    #[cfg(feature = "std")]
    fn clear(self) {
        for int in [&self.sum.0, &self.others.sum_mark] {
            if int.load(Ordering::Relaxed) != 0 {
                int.store(0, Ordering::Relaxed);
            }
        }
        for float in [&self.others.float, &self.others.float_mark] {
            if float.load().is_some() {
                float.clear();
            }
        }
    }

    fn float_since_mark(self) -> f64 {
        match (self.others.float.load(), self.others.float_mark.load()) {
            (None, _) => 0.0,
            (Some(float), None) => float,
            // Compared first, because the difference of two infinities is no number.
            (Some(float), Some(mark)) if float.to_bits() == mark.to_bits() => 0.0,
            (Some(float), Some(mark)) => float - mark,
        }
    }
}
