//! What each thread writes by itself of one stat: its words in the shard of each of a registry's numbered threads.
//!
//! Owns the words that have one writer, and reading across them. Whose shard is whose is `thread_number`'s; how
//! a stat's value is made of them is `cell`'s.
//!
//! Invariant: the words of shard `k` are written by the thread of number `k` alone, by a relaxed load and a relaxed
//! store; the marks beside them by the holder of the cell's version. Words only grow by what was added: nothing sets
//! them back.

use super::float::AtomicFloat;
use super::in_register::{in_register, summed};
use super::thread_number;
use crate::sync::{AtomicI64, Ordering, OwnWord, const_new, fence};
use crate::value::Value;

/// One stat in all shards that were ever used.
#[derive(Clone, Copy)]
pub(crate) struct Column<'r> {
    pub(super) sums: &'r [AtomicI64],
    pub(super) others: &'r [Others],
    pub(super) n_stats: usize,
    pub(super) idx: usize,
}

impl<'r> Column<'r> {
    /// Adds to the calling thread's own word; false, and nothing is done, where it is not as simple.
    #[inline]
    pub(crate) fn add_own(self, value: Value) -> bool {
        self.add_at(self.place(thread_number::current().get()), value)
    }

    /// As [`add_own`](Self::add_own), at a place among the words of all stats; beyond them there is none.
    #[inline]
    pub(super) fn add_at(self, place: usize, value: Value) -> bool {
        match value {
            Value::Int(int) => self.sums.get(place).map(|sum| add(sum, int)).is_some(),
            Value::Float(float) => self.others.get(place).is_some_and(|others| others.add_fast(float)),
        }
    }

    /// Returns the calling thread's own words; `None` where it has no shard.
    pub(crate) fn own(self) -> Option<Words<'r>> {
        self.of(thread_number::current().get())
    }

    /// Returns the words that the thread of this number owns.
    #[inline]
    pub(crate) fn of(self, number: usize) -> Option<Words<'r>> {
        let place = self.place(number);
        Some(Words { sum: self.sums.get(place)?, others: self.others.get(place)? })
    }

    #[inline]
    fn place(self, number: usize) -> usize {
        number.wrapping_mul(self.n_stats).wrapping_add(self.idx)
    }

    /// Of the shards that were used by now. A thread that saw what another one wrote sees its shard here as well.
    fn words(self) -> impl Iterator<Item = Words<'r>> {
        (0..thread_number::n_used()).map_while(move |number| self.of(number))
    }

    /// Returns the sum of all integers; wraps.
    #[inline]
    pub(crate) fn sum(self) -> i64 {
        let sums = (0..thread_number::n_used()).map_while(|number| self.sums.get(self.place(number)));
        sums.fold(0, |all, sum| all.wrapping_add(sum.load(Ordering::Relaxed)))
    }

    /// Returns what was added since the marks: integers and floats.
    pub(crate) fn since_mark(self) -> (i64, f64) {
        self.words().fold((0, 0.0), |(sum, float), words| {
            let mark = words.others.sum_mark.load(Ordering::Relaxed);
            let since = words.sum.load(Ordering::Relaxed).wrapping_sub(mark);
            (sum.wrapping_add(since), float + words.others.float_since_mark())
        })
    }

    /// Sets the marks to what the words stand at, and returns the sum of all integers; for the holder of the cell's
    /// version.
    pub(crate) fn mark(self) -> i64 {
        self.words().fold(0, |all, words| {
            let sum = words.sum.load(Ordering::Relaxed);
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

    /// Sets all words to zero; while no other thread exists. Writes only what is not zero yet, so that memory that was
    /// never used stays so.
    #[cfg(feature = "std")]
    pub(crate) fn clear(self) {
        for Words { sum, others } in self.words() {
            for int in [sum, &others.sum_mark].into_iter().filter(|int| int.load(Ordering::Relaxed) != 0) {
                int.store(0, Ordering::Relaxed);
            }
            for float in
                [&others.float, &others.float_mark].into_iter().filter(|float| float.load().is_some())
            {
                float.clear();
            }
        }
    }
}

/// A thread's share of one stat: the integers that it added, and the rest.
#[derive(Clone, Copy)]
pub(crate) struct Words<'r> {
    pub(crate) sum: &'r AtomicI64,
    others: &'r Others,
}

impl Words<'_> {
    /// Adds an integer; for the owner alone.
    pub(crate) fn add_int(self, int: i64) {
        add(self.sum, int);
    }

    /// Adds a float; for the owner alone. False, and nothing is done, where the stat was set since this word had its
    /// first: what is added to a large number, or to an infinite one, is not to be found by a difference.
    pub(crate) fn add_float(self, float: f64) -> bool {
        if self.others.float_mark.load().is_some() {
            // Pairs with the fence of the thread that marked it.
            fence(Ordering::Acquire);
            return false;
        }
        self.others.float.store(self.others.float.load_own().unwrap_or(0.0) + float);
        true
    }
}

#[inline]
fn add(sum: &AtomicI64, int: i64) {
    // Relaxed: one writer, and a reader learns this number, not what was written before it.
    let sum = in_register(sum);
    sum.store(summed(sum.load_own().wrapping_add(int)), Ordering::Relaxed);
}

/// The floats that a thread added, and what floats and integers stood at when the stat was last set to a float.
pub(super) struct Others {
    float: AtomicFloat,
    sum_mark: AtomicI64,
    float_mark: AtomicFloat,
}

impl Others {
    const_new! {
        pub(super) fn new() -> Self {
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
