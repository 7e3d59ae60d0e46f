//! A registry for programs with interrupts: small, and with every change in a critical section.
//!
//! Owns the second implementation of the seam that `backend` describes. Interrupts are off for a few instructions at a
//! time: never during a search, a check of a name, or the writing of text. Threads are not told apart, so there are no
//! shards, whatever a registry's `SHARDS`.

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
