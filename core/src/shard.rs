//! What each thread writes by itself: a shard of counts and sample rings for each of a registry's numbered threads.
//!
//! Owns the words that have one writer, and reading across them. Whose shard is whose is `thread_number`'s; how
//! a stat's value is made of them is `cell`'s.
//!
//! Invariant: the words of shard `k` are written by the thread of number `k` alone, by a relaxed load and a relaxed
//! store; the marks beside them by whoever holds the cell's version. Words only grow by what was added: nobody sets
//! them back.

use crate::float::AtomicFloat;
use crate::in_register::{in_register, summed};
use crate::sync::{AtomicI64, Ordering, OwnWord, const_new, filled};
use crate::thread_number;

/// `SHARDS` shards for `STATS` stats; with none of them all threads share the cells, and nothing is paid.
#[repr(align(128))]
pub(crate) struct Shards<const STATS: usize, const SHARDS: usize> {
    words: [[Words; STATS]; SHARDS],
}

impl<const STATS: usize, const SHARDS: usize> Shards<STATS, SHARDS> {
    const_new! {
        pub(crate) fn new() -> Self {
            Self { words: filled![filled![Words::new(); STATS]; SHARDS] }
        }
    }

    /// Returns the calling thread's own words of a stat; `None` where it has no shard.
    #[inline]
    pub(crate) fn own(&self, idx: usize) -> Option<&Words> {
        self.of(thread_number::current(), idx)
    }

    /// Returns the words of a stat that the thread of this number owns.
    #[inline]
    pub(crate) fn of(&self, number: usize, idx: usize) -> Option<&Words> {
        // One comparison for both: a number or an index that is none lies beyond all words, wrapped around or not.
        self.words.as_flattened().get(number.wrapping_mul(STATS).wrapping_add(idx))
    }

    pub(crate) fn view(&self) -> ShardsView<'_> {
        ShardsView { words: self.words.as_flattened(), n_stats: STATS }
    }
}

/// The shards to read from, without the capacities in their type.
#[derive(Clone, Copy)]
pub(crate) struct ShardsView<'r> {
    words: &'r [Words],
    n_stats: usize,
}

impl<'r> ShardsView<'r> {
    /// Returns all words of one stat.
    pub(crate) fn column(self, idx: usize) -> Column<'r> {
        Column { shards: self, idx }
    }

    #[inline]
    fn own(self, idx: usize) -> Option<&'r Words> {
        // As in `Shards::of`.
        self.words.get(thread_number::current().wrapping_mul(self.n_stats).wrapping_add(idx))
    }
}

/// One stat in all shards that were ever used.
#[derive(Clone, Copy)]
pub(crate) struct Column<'r> {
    shards: ShardsView<'r>,
    idx: usize,
}

impl<'r> Column<'r> {
    /// Returns the calling thread's own words; `None` where it has no shard.
    #[inline]
    pub(crate) fn own(self) -> Option<&'r Words> {
        self.shards.own(self.idx)
    }

    pub(crate) fn has_shards(self) -> bool {
        !self.shards.words.is_empty()
    }

    /// Of the shards that were used by now. Whoever saw what a thread wrote sees its shard here as well.
    fn words(self) -> impl Iterator<Item = &'r Words> {
        let in_rows = self.shards.words.iter().skip(self.idx).step_by(self.shards.n_stats);
        in_rows.take(thread_number::n_used())
    }

    /// Returns the sum of all integers; wraps.
    pub(crate) fn sum(self) -> i64 {
        self.words().fold(0, |sum, words| sum.wrapping_add(words.sum.load(Ordering::Relaxed)))
    }

    /// Returns what was added since the marks: integers and floats.
    pub(crate) fn since_mark(self) -> (i64, f64) {
        self.words().fold((0, 0.0), |(sum, float), words| {
            let since =
                words.sum.load(Ordering::Relaxed).wrapping_sub(words.sum_mark.load(Ordering::Relaxed));
            (sum.wrapping_add(since), float + words.float_since_mark())
        })
    }

    /// Sets all words to zero; while no other thread exists.
    #[cfg(feature = "std")]
    pub(crate) fn clear(self) {
        self.words().for_each(Words::clear);
    }

    /// Sets the marks to what the words stand at; for the holder of the cell's version.
    pub(crate) fn mark(self) {
        for words in self.words() {
            words.sum_mark.store(words.sum.load(Ordering::Relaxed), Ordering::Relaxed);
            if let Some(float) = words.float.load() {
                words.float_mark.store(float);
            }
        }
    }
}

/// A thread's share of one stat.
pub(crate) struct Words {
    sum: AtomicI64,
    float: AtomicFloat,
    /// What they stood at when the stat was last set to a float.
    sum_mark: AtomicI64,
    float_mark: AtomicFloat,
}

impl Words {
    const_new! {
        pub(crate) fn new() -> Self {
            Self {
                sum: AtomicI64::new(0),
                float: AtomicFloat::new(),
                sum_mark: AtomicI64::new(0),
                float_mark: AtomicFloat::new(),
            }
        }
    }

    /// Adds an integer; for the owner alone.
    #[inline]
    pub(crate) fn add_int(&self, int: i64) {
        // Relaxed: one writer, and a reader learns this number, not what was written before it.
        let sum = &in_register(self).sum;
        sum.store(summed(sum.load_own().wrapping_add(int)), Ordering::Relaxed);
    }

    /// Adds a float; for the owner alone.
    #[inline]
    pub(crate) fn add_float(&self, float: f64) {
        self.float.store(self.float.load_own().unwrap_or(0.0) + float);
    }

    #[inline]
    pub(crate) fn has_float(&self) -> bool {
        self.float.load().is_some()
    }

    /// Writes only what is not zero yet, so that memory that was never used stays so.
    #[cfg(feature = "std")]
    fn clear(&self) {
        for int in [&self.sum, &self.sum_mark] {
            if int.load(Ordering::Relaxed) != 0 {
                int.store(0, Ordering::Relaxed);
            }
        }
        for float in [&self.float, &self.float_mark] {
            if float.load().is_some() {
                float.clear();
            }
        }
    }

    fn float_since_mark(&self) -> f64 {
        match (self.float.load(), self.float_mark.load()) {
            (None, _) => 0.0,
            (Some(float), None) => float,
            // Compared first, because the difference of two infinities is no number.
            (Some(float), Some(mark)) if float.to_bits() == mark.to_bits() => 0.0,
            (Some(float), Some(mark)) => float - mark,
        }
    }
}
