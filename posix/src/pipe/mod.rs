//! Named pipes: their names, creation, replacement, writing and removal.

pub mod hidden_name;
pub mod name;
pub mod remove;

pub(crate) mod fifo;
pub(crate) mod write;
