//! Named pipes: their names, creation, replacement, writing and removal.

pub mod name;
pub mod remove;
pub mod staging;

pub(crate) mod fifo;
pub(crate) mod write;
