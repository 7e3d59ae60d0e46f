//! A registry for programs with threads: words with one writer each, summed by the reader.
//!
//! Owns the first implementation of the seam that `backend` describes.

mod cell;
mod float;
mod in_register;
mod name_index;
mod own_ring;
mod ring;
mod samples;
mod shard;
mod spin;
mod stats;
pub(crate) mod thread_number;

#[cfg(not(target_has_atomic = "64"))]
compile_error!(
    "this target has no 64-bit atomics: turn on the feature `critical-section` of statvent, and one of a crate \
     that implements critical sections for the target, such as `critical-section-single-core` of cortex-m"
);

pub(crate) use crate::sync::AtomicU64;
pub(crate) use {
    cell::{Stat, Stored},
    name_index::{NameIndex, Vacant},
    samples::{SampleStore, SamplesView},
    spin::Gate,
    stats::{StatStore, StatsView},
};
