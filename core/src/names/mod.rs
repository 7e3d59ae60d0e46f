//! Names of stats and series: their rules, their storage and the directory that finds them.
//!
//! Owns everything that a registry knows about names. It knows nothing about values.

pub(crate) mod append_vec;
pub(crate) mod arena;
pub(crate) mod directory;
mod error;
pub mod name;
