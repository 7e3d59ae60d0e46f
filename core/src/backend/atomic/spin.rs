//! A lock that spins, for programs with threads.
//!
//! Owns the lock and the back-off of a thread that waits for a few instructions of another one. In an interrupt it would
//! wait for what it interrupted. It knows nothing of stats.

use crate::sync::{AtomicBool, Ordering, const_new};

/// Lets one in at a time, for short work that happens once per name: it spins, and yields where there is a scheduler.
pub(crate) struct RawMutex {
    locked: AtomicBool,
}

impl RawMutex {
    const_new! {
        pub(crate) fn new() -> Self {
            Self { locked: AtomicBool::new(false) }
        }
    }

    /// Calls `work`, which must not panic, while no other is in. Not to be called again from within `work`.
    pub(crate) fn with_lock<R>(&self, work: impl FnOnce() -> R) -> R {
        self.lock();
        let result = work();
        self.unlock();
        result
    }

    pub(crate) fn lock(&self) {
        let mut backoff = Backoff::new();
        // Acquire pairs with the Release in `leave`: what the last holder wrote is seen.
        while self.locked.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            backoff.wait();
        }
    }

    pub(crate) fn unlock(&self) {
        // Release pairs with the Acquire in `enter`.
        self.locked.store(false, Ordering::Release);
    }
}

/// Waits a little longer each time, for a thread that is in the middle of a few instructions.
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
        const MOST_SPINS: u32 = 64;
        for _ in 0..self.n_spins {
            core::hint::spin_loop();
        }
        if self.n_spins < MOST_SPINS && cfg!(not(loom)) {
            self.n_spins *= 2;
        } else {
            // The holder was probably put off its processor.
            #[cfg(loom)]
            loom::thread::yield_now();
            #[cfg(all(feature = "std", not(loom)))]
            std::thread::yield_now();
        }
    }
}
