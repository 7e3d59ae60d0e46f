//! Atomics, the lock and the unsafe cell: the platform's, or the model checker's under `--cfg loom`.
//!
//! The only file that imports them; everything shared between threads is built from what stands here. Owns the
//! spin lock as well. It knows nothing of stats.

#![allow(unsafe_code, reason = "the lock hands out what it guards")]

#[cfg(loom)]
pub(crate) use loom::{
    cell::UnsafeCell,
    sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering, fence},
};
#[cfg(not(loom))]
pub(crate) use portable_atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering, fence};

#[cfg(all(not(loom), not(target_has_atomic = "64")))]
compile_error!(
    "statvent-core needs 64-bit atomics: this target has none, and no way around them is built yet"
);

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

/// A word that one thread at a time writes, read by that thread: it finds what it stored last.
pub(crate) trait OwnWord {
    type Value;

    /// Loads what the calling thread, or whoever handed the word on to it, stored last.
    fn load_own(&self) -> Self::Value;
}

macro_rules! own_word {
    ($($atomic:ty: $value:ty),*) => {$(
        impl OwnWord for $atomic {
            type Value = $value;

            #[cfg(not(loom))]
            #[inline]
            fn load_own(&self) -> $value {
                // Relaxed: nobody else stores, so there is nothing to order.
                self.load(Ordering::Relaxed)
            }

            /// The checker fails here if another thread may store at the same time, and it misses interleavings of
            /// threads that load before they store, which this load does not count as.
            #[cfg(loom)]
            fn load_own(&self) -> $value {
                // SAFETY: the checker itself tells when this races.
                unsafe { self.unsync_load() }
            }
        }
    )*};
}
own_word!(AtomicI64: i64, AtomicU32: u32, AtomicU64: u64);

/// Declares `new` as a constant function, but for the model checker, whose atomics have no constant form.
macro_rules! const_new {
    ($(#[$meta:meta])* $vis:vis fn new() -> Self $body:block) => {
        $(#[$meta])*
        #[cfg(not(loom))]
        $vis const fn new() -> Self $body

        #[cfg(loom)]
        $vis fn new() -> Self $body
    };
}

/// An array of `$n` times the same new value; see `const_new`.
macro_rules! filled {
    ($new:expr; $n:expr) => {{
        #[cfg(not(loom))]
        let array = [const { $new }; $n];
        #[cfg(loom)]
        let array: [_; $n] = core::array::from_fn(|_| $new);
        array
    }};
}

pub(crate) use {const_new, filled};

/// A lock for short work that happens once per name: it spins, and yields where there is a scheduler.
///
/// Invariant: whoever turned `held` to true is alone with `value` until it turns it back.
pub(crate) struct Lock<T> {
    held: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: `with` gives the value to one thread at a time, so it is only ever sent between threads.
unsafe impl<T: Send> Sync for Lock<T> {}

impl<T> Lock<T> {
    #[cfg(not(loom))]
    pub(crate) const fn new(value: T) -> Self {
        Self { held: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    #[cfg(loom)]
    pub(crate) fn new(value: T) -> Self {
        Self { held: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Calls `f` alone with the value. Not to be called again from within `f`.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        let mut backoff = Backoff::new();
        // Acquire pairs with the Release in `Held::drop`: what the last holder wrote is seen.
        while self.held.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            backoff.wait();
        }
        let held = Held(&self.held);
        let result = self.value.with_mut(|value| {
            // SAFETY: `held` was false and is true through us, so no other reference to the value lives until
            // `Held` is dropped, after the last use of this one.
            let value = unsafe { &mut *value };
            f(value)
        });
        drop(held);
        result
    }
}

/// Gives the lock back, also when the work panicked.
struct Held<'a>(&'a AtomicBool);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // Release pairs with the Acquire in `Lock::with`.
        self.0.store(false, Ordering::Release);
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
