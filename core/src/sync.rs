//! Atomics: the platform's, or the model checker's under `--cfg loom`.
//!
//! The only file that imports atomics; everything that is shared is built from what stands here. Locks belong to
//! `backend`, because an interrupt cannot wait for one as a thread does.

#![cfg_attr(loom, allow(unsafe_code, reason = "the model checker's own look at a word"))]

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering, fence};
#[cfg(all(not(loom), target_has_atomic = "64"))]
#[allow(unused_imports, reason = "the backend for interrupts does without")]
pub(crate) use portable_atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, fence};
#[cfg(not(loom))]
pub(crate) use portable_atomic::{AtomicU32, Ordering};

/// A word that one thread at a time writes, read by that thread: it finds what it stored last.
pub(crate) trait OwnerLoad {
    type Value;

    /// Loads what the calling thread, or the one that handed the word on to it, stored last.
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
owner_load!(AtomicU32: u32);
#[cfg(target_has_atomic = "64")]
owner_load!(AtomicI64: i64, AtomicU64: u64);

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
