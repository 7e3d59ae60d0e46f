//! Storage of a registry: a backend for threads and one for interrupts.
//!
//! Owns the choice of the backend. `atomic` is for threads: words with one writer each, summed by the reader, and a
//! spin lock. `critical_section` is for interrupts (feature `critical-section` without `std`): a lock that waits in
//! an interrupt would wait forever, so every change is made with interrupts off, and everything is smaller. The
//! modules above use both through the same interface.
//!
//! The interface:
//! - [`StatStore`] stores the values of stats by index. [`StatRef`] is one of them, [`StatsView`] all of them
//!   without the capacity in the type. [`StoredValue`] is a value as it is passed in and out, with its text.
//! - [`SampleStore`] stores the last samples of each series. [`SamplesView`] is the same without the capacity.
//! - [`NameIndex`] finds the index of a name, in steps of a [`SearchCursor`]. `directory` stores the names
//!   themselves.
//! - [`RawMutex`] is a mutex without data, for short work. [`AtomicU64`] counts rejected calls.

#[cfg(not(all(feature = "critical-section", not(any(feature = "std", loom)))))]
mod atomic;
#[cfg(not(all(feature = "critical-section", not(any(feature = "std", loom)))))]
pub(crate) use atomic::*;

#[cfg(all(feature = "critical-section", not(any(feature = "std", loom))))]
mod critical_section;
#[cfg(all(feature = "critical-section", not(any(feature = "std", loom))))]
pub(crate) use critical_section::*;

mod write_op;
pub(crate) use write_op::WriteOp;
