//! What a registry is made of where interrupts may come between: smaller, and with every change in a critical section.
//!
//! Owns the second variant of the modules of the same names, chosen in `lib.rs` by the feature `critical-section`
//! where `std` is absent. Interrupts are off for a few instructions at a time: never during a search, a check of a
//! name, or the writing of text. Threads have no shards here. Everything outside of this folder is the same for both.

pub(crate) mod cell;
mod digits;
#[cfg(feature = "json")]
pub(crate) mod json;
pub(crate) mod lock;
pub(crate) mod ring;
pub(crate) mod search;
pub(crate) mod unthreaded;
