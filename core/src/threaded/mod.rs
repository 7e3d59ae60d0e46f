//! What a registry is made of where threads record side by side: words with one writer each, summed by whoever reads.
//!
//! Owns the first variant of the modules that `lib.rs` chooses between; the second is `masked`. Everything outside of the
//! two folders is the same for both.

pub(crate) mod cell;
pub(crate) mod float;
mod in_register;
#[cfg(not(loom))]
pub(crate) mod name_cache;
pub(crate) mod own_ring;
pub(crate) mod ring;
pub(crate) mod search;
pub(crate) mod shard;
pub(crate) mod spin;
pub(crate) mod thread_number;
