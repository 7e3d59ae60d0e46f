//! A small number for each thread, unique among the live ones: whose shard is whose.
//!
//! Owns the pool of numbers, and with feature `std` the thread-local that holds one until the thread ends. It knows
//! no registry: the thread of number `k` owns shard `k` of every registry.
//!
//! Invariant: a number is held by at most one live thread. Who takes it sees all that its last holder wrote to
//! the shards of that number.

use crate::backend::MAX_SHARDS;
#[cfg(any(feature = "std", loom))]
use crate::sync::{AtomicU32, Ordering, const_new};

/// The number of the calling thread, or one that is no shard's. Kept multiplied, so that finding a place in what every
/// thread has 4096 of, as the global registry's stats, takes no multiplication.
#[derive(Clone, Copy)]
pub(crate) struct ThreadNumber(usize);

impl ThreadNumber {
    const FACTOR: usize = 4096;

    /// Not a number: so large that a place in its shard lies beyond all shards, and so small that none wraps around.
    const fn none(which: usize) -> Self {
        const LARGE: usize = 1 << 15;
        Self((LARGE + which) * Self::FACTOR)
    }

    #[cfg(all(feature = "std", not(loom)))]
    const fn of(number: usize) -> Self {
        Self(number * Self::FACTOR)
    }

    #[inline]
    pub(crate) const fn get(self) -> usize {
        self.0 / Self::FACTOR
    }

    /// Returns the number times `n`, which should be a constant.
    #[inline(always)]
    pub(crate) const fn times(self, n: usize) -> usize {
        if n.is_multiple_of(Self::FACTOR) {
            self.0 * (n / Self::FACTOR)
        } else if Self::FACTOR.is_multiple_of(n) {
            self.0 / (Self::FACTOR / n)
        } else {
            self.get() * n
        }
    }
}

/// The numbers that are held, as bits, and how many were ever given.
#[cfg(any(feature = "std", loom))]
pub(crate) struct Pool {
    held: AtomicU32,
    n_used: AtomicU32,
}

#[cfg(any(feature = "std", loom))]
impl Pool {
    const_new! {
        pub(crate) fn new() -> Self {
            Self { held: AtomicU32::new(0), n_used: AtomicU32::new(0) }
        }
    }

    /// Takes the smallest free number.
    pub(crate) fn take(&self) -> Option<usize> {
        // The lowest bit that is zero becomes one; `None` where there is none.
        let take = |held: u32| Some(held | held.checked_add(1)?);
        // Acquire pairs with the Release in `give_back`: the last holder's writes to its shards are seen.
        let held = self.held.fetch_update(Ordering::Acquire, Ordering::Relaxed, take).ok()?;
        let number = held.trailing_ones();
        // Release pairs with the Acquire in `n_used`.
        self.n_used.fetch_max(number + 1, Ordering::Release);
        Some(number as usize)
    }

    /// Says whether there is no number to take, at the moment.
    pub(crate) fn is_empty(&self) -> bool {
        // Relaxed: a thread that learns this too late asks again at its next call.
        self.held.load(Ordering::Relaxed) == u32::MAX
    }

    pub(crate) fn give_back(&self, number: usize) {
        // Release pairs with the Acquire in `take`.
        self.held.fetch_and(!(1 << number), Ordering::Release);
    }

    /// Frees all numbers but this one.
    pub(crate) fn keep_only(&self, number: Option<usize>) {
        self.held.store(number.map_or(0, |number| 1 << number), Ordering::Relaxed);
    }

    /// Returns how many of the numbers were ever held: shards from there on are untouched.
    #[inline]
    pub(crate) fn n_used(&self) -> usize {
        self.n_used.load(Ordering::Acquire) as usize
    }
}

const _: () = assert!(MAX_SHARDS == u32::BITS as usize);

#[cfg(all(feature = "std", not(loom)))]
pub(crate) use held::{TAKING, current, forget_other_threads, n_used, take};

#[cfg(all(feature = "std", not(loom)))]
mod held {
    use std::cell::Cell;

    use super::{Pool, ThreadNumber};
    use crate::backend::{Gate, MAX_SHARDS};

    /// Not asked for yet, or there was none left.
    const UNKNOWN: ThreadNumber = ThreadNumber::none(0);
    /// The thread is ending and gave it back.
    const ENDED: ThreadNumber = ThreadNumber::none(1);

    static POOL: Pool = Pool::new();

    std::thread_local! {
        // Without a destructor, so that reading it is one load, also while the thread ends.
        static NUMBER: Cell<ThreadNumber> = const { Cell::new(UNKNOWN) };
        static GIVES_BACK: GivesBack = const { GivesBack };
    }

    struct GivesBack;

    impl Drop for GivesBack {
        fn drop(&mut self) {
            if let Some(number) = held(NUMBER.replace(ENDED)) {
                POOL.give_back(number);
            }
        }
    }

    #[inline]
    pub(crate) fn current() -> ThreadNumber {
        NUMBER.get()
    }

    fn held(number: ThreadNumber) -> Option<usize> {
        Some(number.get()).filter(|number| *number < MAX_SHARDS)
    }

    /// Takes a number for this thread, if it has none and one is free; it is given back when the thread ends.
    #[cold]
    pub(crate) fn take() {
        if NUMBER.get().get() != UNKNOWN.get() || POOL.is_empty() {
            return;
        }
        // Refused when the thread is past the destructors of its own variables.
        if GIVES_BACK.try_with(|_| ()).is_err() {
            return NUMBER.set(ENDED);
        }
        TAKING.with(|| {
            if let Some(number) = POOL.take() {
                NUMBER.set(ThreadNumber::of(number));
            }
        });
    }

    /// Held across a fork, so that the child knows of every number that was given.
    pub(crate) static TAKING: Gate = Gate::new();

    /// Frees the numbers of all threads but this one, in a process that has no others.
    pub(crate) fn forget_other_threads() {
        POOL.keep_only(held(current()));
    }

    #[inline]
    pub(crate) fn n_used() -> usize {
        POOL.n_used()
    }
}

#[cfg(any(not(feature = "std"), loom))]
pub(crate) use shared::{current, n_used, take};

/// Without `std` no thread is known: all share.
#[cfg(any(not(feature = "std"), loom))]
mod shared {
    use super::ThreadNumber;

    #[inline]
    pub(crate) const fn current() -> ThreadNumber {
        ThreadNumber::none(0)
    }

    pub(crate) const fn take() {}

    /// The model checker's threads are given their shards by hand.
    pub(crate) const fn n_used() -> usize {
        if cfg!(loom) { usize::MAX } else { 0 }
    }
}

#[cfg(all(test, feature = "std", not(loom)))]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::thread;
    use std::time::{Duration, Instant};

    #[test]
    fn a_number_times_anything_is_exact_and_what_is_no_number_lies_beyond_all_shards() {
        for n in [0, 1, 2, 3, 256, 1000, 4096, 8192, 65536] {
            for number in 0..MAX_SHARDS {
                assert_eq!(ThreadNumber::of(number).times(n), number * n);
            }
            assert!(n == 0 || ThreadNumber::none(0).times(n) >= MAX_SHARDS * n);
            // Also where pointers have 32 bits and the index is that of a site that knows none.
            assert!(ThreadNumber::none(1).times(n) < (1 << 32) - (1 << 30));
        }
    }

    #[test]
    fn a_thread_that_found_no_number_takes_one_once_there_is_one() {
        let is_held = || current().get() < MAX_SHARDS;
        let (taken, done) = (Barrier::new(MAX_SHARDS + 1), Barrier::new(MAX_SHARDS + 1));
        thread::scope(|scope| {
            for _ in 0..MAX_SHARDS {
                scope.spawn(|| {
                    take();
                    taken.wait();
                    done.wait();
                });
            }
            taken.wait();
            // In vain, unless another test's thread ends right now.
            take();
            done.wait();
        });
        let start = Instant::now();
        while !is_held() && start.elapsed() < Duration::from_secs(10) {
            take();
            thread::yield_now();
        }
        assert!(is_held(), "no number after all who had one ended");
    }

    #[test]
    fn after_a_fork_all_numbers_are_free_but_the_own_one() {
        let pool = Pool::new();
        assert_eq!((0..3).map(|_| pool.take()).collect::<std::vec::Vec<_>>(), [Some(0), Some(1), Some(2)]);
        pool.keep_only(Some(1));
        assert_eq!((pool.take(), pool.take(), pool.n_used()), (Some(0), Some(2), 3));
        pool.keep_only(None);
        assert_eq!(pool.take(), Some(0));
    }
}
