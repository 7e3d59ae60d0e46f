//! What can be wrong with a line that is read, or with the buffer for one that is written.
//!
//! Owns the two error types of `line` and their words.

use core::fmt;

use super::limits::{MAX_LINE_BYTES, MAX_OWN_LINE_BYTES};

/// Why bytes from a pipe are not a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LineError {
    /// Nothing but white space.
    Blank,
    /// No colon between a name and a value.
    NoColon,
    /// A newline within the line: the bytes were not split into lines first.
    Newline {
        /// Its byte offset.
        at: usize,
    },
    /// What follows the last colon is neither an integer nor a float.
    NotANumber {
        /// Where the value begins (or would), as a byte offset.
        at: usize,
    },
    /// More than [`MAX_LINE_BYTES`](super::MAX_LINE_BYTES) before the newline.
    TooLong,
    /// The end came before the line's newline.
    Torn,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => f.write_str("the line is blank: expected \"name: value\""),
            Self::NoColon => f.write_str("the line has no colon: expected \"name: value\""),
            Self::Newline { at } => {
                write!(f, "newline at byte {at} within a line: split the bytes into lines first")
            }
            Self::NotANumber { at } => {
                write!(
                    f,
                    "the value at byte {at} is not a number: expected an integer or a float after the last colon"
                )
            }
            Self::TooLong => {
                write!(f, "the line is longer than {MAX_LINE_BYTES} bytes: skipped to its end")
            }
            Self::Torn => f.write_str("the last line has no newline: its value may be cut short"),
        }
    }
}

impl core::error::Error for LineError {}

/// The caller's buffer cannot hold the next line; nothing was written or lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BufferTooSmall {
    /// The bytes that the line takes.
    pub needed: usize,
    /// The bytes that the buffer has.
    pub available: usize,
}

impl fmt::Display for BufferTooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the next line takes {} bytes and the buffer has {}: {} bytes hold every line",
            self.needed, self.available, MAX_OWN_LINE_BYTES
        )
    }
}

impl core::error::Error for BufferTooSmall {}
