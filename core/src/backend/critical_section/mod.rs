//! Backend for interrupts: small, with every change in a critical section.
//!
//! Owns one implementation of the interface that `backend` describes. Interrupts are off for a few instructions at
//! a time, never during a search, the check of a name, or the writing of text. Threads are not distinguished, so there
//! are no shards, and `SHARDS` is ignored.

mod digits;
mod lock;
mod name_index;
mod samples;
mod stats;

pub(crate) use {
    lock::{AtomicU64, RawMutex},
    name_index::{NameIndex, SearchCursor},
    samples::{SampleStore, SamplesView},
    stats::{StatRef, StatStore, StatsView, StoredValue},
};
