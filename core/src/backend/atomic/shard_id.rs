//! Shard ids of threads: small numbers, unique among live threads.
//!
//! Owns the pool of ids, and with feature `std` the thread-local id, which is released when the thread ends. It
//! knows no registry: the thread with id `k` owns shard `k` of every registry.
//!
//! Invariant: at most one live thread holds an id. A thread that acquires it sees all writes of the last holder to
//! the shards of that id.

use crate::limits::MAX_SHARDS;
#[cfg(any(feature = "std", loom))]
use crate::sync::{AtomicU32, Ordering, const_new};

/// Shard id of the calling thread, or a value beyond all shards. Stored multiplied: registries with a multiple of
/// 4096 stats, such as the global one, need no multiplication to find a slot.
#[derive(Clone, Copy)]
pub(crate) struct ShardId(usize);

impl ShardId {
    const FACTOR: usize = 4096;

    /// Returns an invalid id: so large that its slots lie beyond all shards, and so small that no index wraps
    /// around.
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

    /// Returns the id times `n`, which should be a constant.
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

/// Pool of ids: a bit for each allocated id, and the number of ids that were ever used.
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

    /// Acquires the smallest free id.
    pub(crate) fn acquire(&self) -> Option<usize> {
        // Sets the lowest zero bit; `None` if there is none.
        let set_lowest_zero = |allocated: u32| Some(allocated | allocated.checked_add(1)?);
        // Acquire pairs with the Release in `release`: this thread sees the last holder's writes to its shards.
        let allocated =
            self.allocated.fetch_update(Ordering::Acquire, Ordering::Relaxed, set_lowest_zero).ok()?;
        let id = allocated.trailing_ones();
        // Release pairs with the Acquire in `n_used`.
        self.n_used.fetch_max(id + 1, Ordering::Release);
        Some(id as usize)
    }

    /// Returns whether all ids are allocated.
    pub(crate) fn is_empty(&self) -> bool {
        // Relaxed: a thread that sees a release too late asks again at its next call.
        self.allocated.load(Ordering::Relaxed) == u32::MAX
    }

    pub(crate) fn release(&self, id: usize) {
        // Release pairs with the Acquire in `acquire`.
        self.allocated.fetch_and(!(1 << id), Ordering::Release);
    }

    /// Releases all ids except this one.
    pub(crate) fn keep_only(&self, id: Option<usize>) {
        self.allocated.store(id.map_or(0, |id| 1 << id), Ordering::Relaxed);
    }

    /// Returns the number of ids that were ever used. Shards from there on are untouched.
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
    use crate::limits::MAX_SHARDS;

    /// Not acquired yet, or the pool was empty.
    const UNKNOWN: ShardId = ShardId::none(0);
    /// The thread is ending and released its id.
    const ENDED: ShardId = ShardId::none(1);

    static POOL: ShardPool = ShardPool::new();

    std::thread_local! {
        // Without a destructor, so that reading it is one load, even while the thread ends.
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

    /// Acquires an id for this thread if it has none and one is free. It is released when the thread ends.
    #[cold]
    pub(crate) fn acquire() {
        if SHARD_ID.get().get() != UNKNOWN.get() || POOL.is_empty() {
            return;
        }
        // Fails once the thread has run the destructors of its thread-locals.
        if RELEASE_ON_EXIT.try_with(|_| ()).is_err() {
            return SHARD_ID.set(ENDED);
        }
        ALLOCATION.with_lock(|| {
            if let Some(id) = POOL.acquire() {
                SHARD_ID.set(ShardId::new(id));
            }
        });
    }

    /// Locked across a fork, so that the child knows every id that was acquired.
    pub(crate) static ALLOCATION: RawMutex = RawMutex::new();

    /// Releases the ids of all other threads. Only for a process without other threads.
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

/// Without `std` threads are unknown and share all words.
#[cfg(any(not(feature = "std"), loom))]
mod unassigned {
    use super::ShardId;

    #[inline]
    pub(crate) const fn current() -> ShardId {
        ShardId::none(0)
    }

    pub(crate) const fn acquire() {}

    /// The models pass shard ids explicitly.
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
    fn a_product_of_an_id_is_exact_and_an_invalid_id_lies_beyond_all_shards() {
        for n in [0, 1, 2, 3, 256, 1000, 4096, 8192, 65536] {
            for id in 0..MAX_SHARDS {
                assert_eq!(ShardId::new(id).times(n), id * n);
            }
            assert!(n == 0 || ShardId::none(0).times(n) >= MAX_SHARDS * n);
            // Also on 32-bit targets, with the index of a call site whose stat is not known.
            assert!(ShardId::none(1).times(n) < (1 << 32) - (1 << 30));
        }
    }

    #[test]
    fn a_thread_without_an_id_acquires_one_once_one_is_free() {
        let has_id = || current().get() < MAX_SHARDS;
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
            // Fails, unless a thread of another test ends right now.
            acquire();
            done.wait();
        });
        let start = Instant::now();
        while !has_id() && start.elapsed() < Duration::from_secs(10) {
            acquire();
            thread::yield_now();
        }
        assert!(has_id(), "no id was acquired although all threads with an id have ended");
    }

    #[test]
    fn after_a_fork_only_the_own_id_is_allocated() {
        let pool = ShardPool::new();
        assert_eq!((0..3).map(|_| pool.acquire()).collect::<std::vec::Vec<_>>(), [Some(0), Some(1), Some(2)]);
        pool.keep_only(Some(1));
        assert_eq!((pool.acquire(), pool.acquire(), pool.n_used()), (Some(0), Some(2), 3));
        pool.keep_only(None);
        assert_eq!(pool.acquire(), Some(0));
    }
}
