//! A small number for each thread, unique among the live ones: whose shard is whose.
//!
//! Owns the pool of numbers, and with feature `std` the thread-local that holds one until the thread ends. It knows
//! no registry: the thread of number `k` owns shard `k` of every registry.
//!
//! Invariant: a number is held by at most one live thread. Who takes it sees all that its last holder wrote to
//! the shards of that number.

use crate::backend::common::MAX_SHARDS;
#[cfg(any(feature = "std", loom))]
use crate::sync::{AtomicU32, Ordering, const_new};

/// The number of the calling thread, or one that is no shard's. Kept multiplied, so that finding a place in what every
/// thread has 4096 of, as the global registry's stats, takes no multiplication.
#[derive(Clone, Copy)]
pub(crate) struct ShardId(usize);

impl ShardId {
    const FACTOR: usize = 4096;

    /// Not a number: so large that a place in its shard lies beyond all shards, and so small that none wraps around.
    const fn none(which: usize) -> Self {
        const LARGE: usize = 1 << 15;
        Self((LARGE + which) * Self::FACTOR)
    }

    #[cfg(all(feature = "std", not(loom)))]
    const fn new(id: usize) -> Self {
        Self(id * Self::FACTOR)
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
pub(crate) struct ShardPool {
    allocated: AtomicU32,
    n_used: AtomicU32,
}

#[cfg(any(feature = "std", loom))]
impl ShardPool {
    const_new! {
        pub(crate) fn new() -> Self {
            Self { allocated: AtomicU32::new(0), n_used: AtomicU32::new(0) }
        }
    }

    /// Takes the smallest free number.
    pub(crate) fn acquire(&self) -> Option<usize> {
        // The lowest bit that is zero becomes one; `None` where there is none.
        let set_lowest_zero = |allocated: u32| Some(allocated | allocated.checked_add(1)?);
        // Acquire pairs with the Release in `release`: the last holder's writes to its shards are seen.
        let allocated =
            self.allocated.fetch_update(Ordering::Acquire, Ordering::Relaxed, set_lowest_zero).ok()?;
        let id = allocated.trailing_ones();
        // Release pairs with the Acquire in `n_used`.
        self.n_used.fetch_max(id + 1, Ordering::Release);
        Some(id as usize)
    }

    /// Says whether there is no number to take, at the moment.
    pub(crate) fn is_empty(&self) -> bool {
        // Relaxed: a thread that learns this too late asks again at its next call.
        self.allocated.load(Ordering::Relaxed) == u32::MAX
    }

    pub(crate) fn release(&self, id: usize) {
        // Release pairs with the Acquire in `take`.
        self.allocated.fetch_and(!(1 << id), Ordering::Release);
    }

    /// Frees all numbers but this one.
    pub(crate) fn keep_only(&self, id: Option<usize>) {
        self.allocated.store(id.map_or(0, |id| 1 << id), Ordering::Relaxed);
    }

    /// Returns how many of the numbers were ever held: shards from there on are untouched.
    #[inline]
    pub(crate) fn n_used(&self) -> usize {
        self.n_used.load(Ordering::Acquire) as usize
    }
}

const _: () = assert!(MAX_SHARDS == u32::BITS as usize);

#[cfg(all(feature = "std", not(loom)))]
pub(crate) use assigned::{ALLOCATION, acquire, current, free_other_ids, n_used};

#[cfg(all(feature = "std", not(loom)))]
mod assigned {
    use std::cell::Cell;

    use super::super::spin::RawMutex;
    use super::{ShardId, ShardPool};
    use crate::backend::common::MAX_SHARDS;

    /// Not asked for yet, or there was none left.
    const UNKNOWN: ShardId = ShardId::none(0);
    /// The thread is ending and gave it back.
    const ENDED: ShardId = ShardId::none(1);

    static POOL: ShardPool = ShardPool::new();

    std::thread_local! {
        // Without a destructor, so that reading it is one load, also while the thread ends.
        static SHARD_ID: Cell<ShardId> = const { Cell::new(UNKNOWN) };
        static RELEASE_ON_EXIT: ReleaseOnExit = const { ReleaseOnExit };
    }

    struct ReleaseOnExit;

    impl Drop for ReleaseOnExit {
        fn drop(&mut self) {
            if let Some(id) = in_range(SHARD_ID.replace(ENDED)) {
                POOL.release(id);
            }
        }
    }

    #[inline]
    pub(crate) fn current() -> ShardId {
        SHARD_ID.get()
    }

    fn in_range(id: ShardId) -> Option<usize> {
        Some(id.get()).filter(|id| *id < MAX_SHARDS)
    }

    /// Takes a number for this thread, if it has none and one is free; it is given back when the thread ends.
    #[cold]
    pub(crate) fn acquire() {
        if SHARD_ID.get().get() != UNKNOWN.get() || POOL.is_empty() {
            return;
        }
        // Refused when the thread is past the destructors of its own variables.
        if RELEASE_ON_EXIT.try_with(|_| ()).is_err() {
            return SHARD_ID.set(ENDED);
        }
        ALLOCATION.with_lock(|| {
            if let Some(id) = POOL.acquire() {
                SHARD_ID.set(ShardId::new(id));
            }
        });
    }

    /// Held across a fork, so that the child knows of every number that was given.
    pub(crate) static ALLOCATION: RawMutex = RawMutex::new();

    /// Frees the numbers of all threads but this one, in a process that has no others.
    pub(crate) fn free_other_ids() {
        POOL.keep_only(in_range(current()));
    }

    #[inline]
    pub(crate) fn n_used() -> usize {
        POOL.n_used()
    }
}

#[cfg(any(not(feature = "std"), loom))]
pub(crate) use unassigned::{acquire, current, n_used};

/// Without `std` no thread is known: all share.
#[cfg(any(not(feature = "std"), loom))]
mod unassigned {
    use super::ShardId;

    #[inline]
    pub(crate) const fn current() -> ShardId {
        ShardId::none(0)
    }

    pub(crate) const fn acquire() {}

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
            for id in 0..MAX_SHARDS {
                assert_eq!(ShardId::new(id).times(n), id * n);
            }
            assert!(n == 0 || ShardId::none(0).times(n) >= MAX_SHARDS * n);
            // Also where pointers have 32 bits and the index is that of a site that knows none.
            assert!(ShardId::none(1).times(n) < (1 << 32) - (1 << 30));
        }
    }

    #[test]
    fn a_thread_that_found_no_number_takes_one_once_there_is_one() {
        let is_held = || current().get() < MAX_SHARDS;
        let (taken, done) = (Barrier::new(MAX_SHARDS + 1), Barrier::new(MAX_SHARDS + 1));
        thread::scope(|scope| {
            for _ in 0..MAX_SHARDS {
                scope.spawn(|| {
                    acquire();
                    taken.wait();
                    done.wait();
                });
            }
            taken.wait();
            // In vain, unless another test's thread ends right now.
            acquire();
            done.wait();
        });
        let start = Instant::now();
        while !is_held() && start.elapsed() < Duration::from_secs(10) {
            acquire();
            thread::yield_now();
        }
        assert!(is_held(), "no number after all who had one ended");
    }

    #[test]
    fn after_a_fork_all_numbers_are_free_but_the_own_one() {
        let pool = ShardPool::new();
        assert_eq!((0..3).map(|_| pool.acquire()).collect::<std::vec::Vec<_>>(), [Some(0), Some(1), Some(2)]);
        pool.keep_only(Some(1));
        assert_eq!((pool.acquire(), pool.acquire(), pool.n_used()), (Some(0), Some(2), 3));
        pool.keep_only(None);
        assert_eq!(pool.acquire(), Some(0));
    }
}
