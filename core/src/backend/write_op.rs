//! Kinds of writes to a stat, shared by both backends.
//!
//! Owns no state.

/// How a call changes a stat.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum WriteOp {
    Add,
    Set,
}
