//! Backend for threads: words with one writer each, summed by the reader.
//!
//! Owns one implementation of the interface that `backend` describes.

mod cell;
mod float;
mod name_index;
mod opaque;
mod samples;
pub(crate) mod shard_id;
mod shards;
mod shared_ring;
mod spin;
mod stats;
mod thread_ring;

#[cfg(not(target_has_atomic = "64"))]
compile_error!(
    "this target has no 64-bit atomics: turn on the feature `critical-section` of statvent, and one of a crate \
     that implements critical sections for the target, such as `critical-section-single-core` of cortex-m"
);

pub(crate) use crate::sync::AtomicU64;
pub(crate) use {
    cell::{StatRef, StoredValue},
    name_index::{NameIndex, SearchCursor},
    samples::{SampleStore, SamplesView},
    spin::RawMutex,
    stats::{StatStore, StatsView},
};
