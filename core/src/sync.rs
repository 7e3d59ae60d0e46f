//! Atomic types of the platform, or of the model checker loom under `--cfg loom`.
//!
//! Only this file imports atomics. Locks belong to `backend`, because a thread may wait for a lock and an interrupt
//! must not.

#![cfg_attr(loom, allow(unsafe_code, reason = "loom's unsync_load is unsafe"))]

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering, fence};
#[cfg(all(not(loom), target_has_atomic = "64"))]
#[allow(unused_imports, reason = "the critical_section backend does not use them")]
pub(crate) use portable_atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, fence};
#[cfg(not(loom))]
pub(crate) use portable_atomic::{AtomicU32, Ordering};

/// A load for the only thread that stores to an atomic: it reads its own last store.
pub(crate) trait OwnerLoad {
    type Value;

    /// Loads the last store of the calling thread, or of the thread that passed the ownership of the word to it.
    fn load_own(&self) -> Self::Value;
}

macro_rules! owner_load {
    ($($atomic:ty: $value:ty),*) => {$(
        impl OwnerLoad for $atomic {
            type Value = $value;

            #[cfg(not(loom))]
            #[inline]
            fn load_own(&self) -> $value {
                // Relaxed: no other thread stores, so there is nothing to order.
                self.load(Ordering::Relaxed)
            }

            /// The model checker fails here if another thread may store at the same time. It does not count this
            /// load as an interleaving point, so it misses orders that only such a load makes visible.
            #[cfg(loom)]
            fn load_own(&self) -> $value {
                // SAFETY: the model checker reports a race of this load as a failure of the model.
                unsafe { self.unsync_load() }
            }
        }
    )*};
}
owner_load!(AtomicU32: u32);
#[cfg(target_has_atomic = "64")]
owner_load!(AtomicI64: i64, AtomicU64: u64);

/// Declares `new` as a `const fn`. Under loom it is a plain function, because loom's atomics have no constant
/// constructor.
macro_rules! const_new {
    ($(#[$meta:meta])* $vis:vis fn new() -> Self $body:block) => {
        $(#[$meta])*
        #[cfg(not(loom))]
        $vis const fn new() -> Self $body

        #[cfg(loom)]
        $vis fn new() -> Self $body
    };
}

/// An array with `$n` copies of a new value; see `const_new`.
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
