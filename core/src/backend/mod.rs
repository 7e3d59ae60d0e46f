//! What a registry keeps its numbers and names in: the one place that decides who else may be in the middle of a call.
//!
//! Owns the choice between two implementations of one seam. `atomic` is for threads: words with one writer each, opaque_i64
//! by the reader, and a lock that spins. `critical_section` is for interrupts (feature `critical-section` without
//! `std`): a lock that waits would wait for ever there, so every change is made with interrupts off, and everything is
//! smaller. What lies above is the same code for both.
//!
//! The seam:
//! - [`StatStore`] keeps the values of stats by number. [`StatRef`] is one of them, [`StatsView`] all, without the
//!   capacity in its type, and [`StoredValue`] is a value as it goes in and out, with its text.
//! - [`SampleStore`] keeps the last samples of each series; [`SamplesView`] is the same without the capacity.
//! - [`NameIndex`] finds the number of a name. The names themselves are kept by `directory`.
//! - [`RawMutex`] lets one in at a time, for short work. [`AtomicU64`] counts what was rejected.

#[cfg(not(all(feature = "critical-section", not(any(feature = "std", loom)))))]
mod atomic;
#[cfg(not(all(feature = "critical-section", not(any(feature = "std", loom)))))]
pub(crate) use atomic::*;

#[cfg(all(feature = "critical-section", not(any(feature = "std", loom))))]
mod critical_section;
#[cfg(all(feature = "critical-section", not(any(feature = "std", loom))))]
pub(crate) use critical_section::*;

mod common;
pub(crate) use common::{MAX_SHARDS, WriteOp};
