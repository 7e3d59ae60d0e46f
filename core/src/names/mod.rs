//! Names of stats and series: rules, storage and lookup.
//!
//! Owns all that a registry does with names. It does not touch values.

pub(crate) mod append_vec;
pub(crate) mod arena;
pub(crate) mod directory;
mod error;
pub mod name;
