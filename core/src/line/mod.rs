#![doc = include_str!("../../FORMAT.md")]
//!
//! # This module
//! Owns both directions of the format: [`format_line`] writes, [`LineSplitter`] and [`parse_line`] read. It touches
//! no registry, no pipe and no clock.

mod error;
pub(crate) mod format;
pub(crate) mod number;
mod parse;
mod split;
#[cfg(test)]
mod tests;

pub use crate::limits::{MAX_LINE_BYTES, MAX_OWN_LINE_BYTES};
pub use error::{BufferTooSmall, LineError};
pub use format::format_line;
pub use number::Number;
pub use parse::{Line, parse_line};
pub use split::LineSplitter;
