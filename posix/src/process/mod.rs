//! Events of the whole process: forks, its exit, and signals that end it.

pub(crate) mod cleanup_table;
pub(crate) mod exit;
pub(crate) mod fork;
pub(crate) mod generation;
pub(crate) mod signals;
