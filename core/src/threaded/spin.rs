//! A lock that spins, for programs with threads.
//!
//! Owns the lock and the back-off of whoever waits for a few instructions of another thread. Reached through
//! `sync`, which chooses it where the others that may be in the middle of a call are threads: in an interrupt it would
//! wait for what it interrupted. It knows nothing of stats.

#![allow(unsafe_code, reason = "the lock hands out what it guards")]

#[cfg(loom)]
use loom::cell::UnsafeCell;

use crate::sync::{AtomicBool, Ordering, const_new};

/// A lock for short work that happens once per name: it spins, and yields where there is a scheduler.
///
/// Invariant: whoever came through the gate is alone with `value` until it leaves.
pub(crate) struct Lock<T> {
    gate: Gate,
    value: UnsafeCell<T>,
}

// SAFETY: `with` gives the value to one thread at a time, so it is only ever sent between threads.
unsafe impl<T: Send> Sync for Lock<T> {}

impl<T> Lock<T> {
    #[cfg(not(loom))]
    pub(crate) const fn new(value: T) -> Self {
        Self { gate: Gate::new(), value: UnsafeCell::new(value) }
    }

    #[cfg(loom)]
    pub(crate) fn new(value: T) -> Self {
        Self { gate: Gate::new(), value: UnsafeCell::new(value) }
    }

    /// Calls `f` alone with the value. Not to be called again from within `f`.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        self.gate.enter();
        let leaves = Leaves(&self.gate);
        let result = self.value.with_mut(|value| {
            // SAFETY: we are alone behind the gate, so no other reference to the value lives until `Leaves` is
            // dropped, after the last use of this one.
            let value = unsafe { &mut *value };
            f(value)
        });
        drop(leaves);
        result
    }

    /// Returns what keeps others out, for whoever has to keep everybody out of several locks.
    #[cfg(feature = "std")]
    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }
}

/// Lets one through at a time.
pub(crate) struct Gate {
    held: AtomicBool,
}

impl Gate {
    const_new! {
        pub(crate) fn new() -> Self {
            Self { held: AtomicBool::new(false) }
        }
    }

    pub(crate) fn enter(&self) {
        let mut backoff = Backoff::new();
        // Acquire pairs with the Release in `leave`: what the last holder wrote is seen.
        while self.held.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            backoff.wait();
        }
    }

    pub(crate) fn leave(&self) {
        // Release pairs with the Acquire in `enter`.
        self.held.store(false, Ordering::Release);
    }
}

/// Leaves also when the work panicked.
struct Leaves<'a>(&'a Gate);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Waits a little longer each time, for somebody who is in the middle of a few instructions.
pub(crate) struct Backoff {
    n_spins: u32,
}

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self { n_spins: 1 }
    }

    #[cfg(not(loom))]
    pub(crate) fn wait(&mut self) {
        const MOST_SPINS: u32 = 64;
        for _ in 0..self.n_spins {
            core::hint::spin_loop();
        }
        if self.n_spins < MOST_SPINS {
            self.n_spins *= 2;
        } else {
            // The holder was probably put off its processor.
            #[cfg(feature = "std")]
            std::thread::yield_now();
        }
    }

    #[cfg(loom)]
    pub(crate) fn wait(&mut self) {
        self.n_spins = self.n_spins.wrapping_add(1);
        loom::thread::yield_now();
    }
}

/// `core`'s cell behind the interface of the model checker's.
#[cfg(not(loom))]
pub(crate) struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(core::cell::UnsafeCell::new(value))
    }

    #[inline]
    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}
