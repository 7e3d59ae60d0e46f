//! Kind of a write and limit of shards, shared by both backends.
//!
//! Owns no state.

/// The largest number of shards of a registry: one bit each in a 32-bit word.
pub(crate) const MAX_SHARDS: usize = 32;

/// How a call changes a stat.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum WriteOp {
    Add,
    Set,
}
