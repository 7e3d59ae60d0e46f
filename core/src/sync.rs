//! Atomics and the lock: the platform's for programs with threads, those of a critical section for programs with
//! interrupts, or the model checker's under `--cfg loom`.
//!
//! The only file that imports atomics; everything that is shared is built from what stands here. Here alone it is
//! decided who else may be in the middle of a call: other threads (`spin`), which go on while we wait, or whatever an
//! interrupt stopped (`masked`), which does not. Called by all that is shared. It knows nothing of stats.

#![cfg_attr(loom, allow(unsafe_code, reason = "the model checker's own look at a word"))]

#[cfg(all(feature = "critical-section", not(any(feature = "std", loom))))]
mod chosen {
    pub(crate) use crate::masked::lock::{AtomicU64, Lock};
    // Used to load and to store alone, which every target has.
    pub(crate) use core::sync::atomic::{AtomicU32, Ordering};
}

#[cfg(any(not(feature = "critical-section"), feature = "std", loom))]
mod chosen {
    #[cfg(not(target_has_atomic = "64"))]
    compile_error!(
        "this target has no 64-bit atomics: turn on the feature `critical-section` of statvent, and one of a crate \
         that implements critical sections for the target, such as `critical-section-single-core` of cortex-m"
    );

    #[cfg(feature = "std")]
    pub(crate) use crate::spin::Gate;
    pub(crate) use crate::spin::{Backoff, Lock};
    #[cfg(loom)]
    pub(crate) use loom::sync::atomic::{
        AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering, fence,
    };
    #[cfg(not(loom))]
    pub(crate) use portable_atomic::{
        AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering, fence,
    };
}

pub(crate) use chosen::*;

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
own_word!(AtomicU32: u32);
#[cfg(any(not(feature = "critical-section"), feature = "std", loom))]
own_word!(AtomicI64: i64, AtomicU64: u64);

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
