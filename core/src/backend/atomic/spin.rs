//! Spin lock and back-off, for threads.
//!
//! Owns the lock, and the back-off of a thread that waits for a few instructions of another thread. It must not be
//! used in an interrupt, which would wait for the code that it interrupted.

use crate::limits::MAX_SPINS;
use crate::sync::{AtomicBool, Ordering, const_new};

/// Mutex without data, for short work that happens once per name. It spins, and yields if there is a scheduler.
pub(crate) struct RawMutex {
    locked: AtomicBool,
}

impl RawMutex {
    const_new! {
        pub(crate) fn new() -> Self {
            Self { locked: AtomicBool::new(false) }
        }
    }

    /// Calls `work` with the mutex locked. `work` must not panic, and must not lock this mutex again.
    pub(crate) fn with_lock<R>(&self, work: impl FnOnce() -> R) -> R {
        self.lock();
        let result = work();
        self.unlock();
        result
    }

    pub(crate) fn lock(&self) {
        let mut backoff = Backoff::new();
        // Acquire pairs with the Release in `unlock`: this thread sees the writes of the last holder.
        while self.locked.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            backoff.wait();
        }
    }

    pub(crate) fn unlock(&self) {
        // Release pairs with the Acquire in `lock`.
        self.locked.store(false, Ordering::Release);
    }
}

/// Exponential back-off for a thread that waits for a few instructions of another one.
pub(crate) struct Backoff {
    n_spins: u32,
}

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self { n_spins: 1 }
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn wait(&mut self) {
        for _ in 0..self.n_spins {
            core::hint::spin_loop();
        }
        if self.n_spins < MAX_SPINS && cfg!(not(loom)) {
            self.n_spins *= 2;
        } else {
            // The scheduler has probably suspended the holder.
            #[cfg(loom)]
            loom::thread::yield_now();
            #[cfg(all(feature = "std", not(loom)))]
            std::thread::yield_now();
        }
    }
}
