//! Errors of reading a line, and of a buffer that is too small to write one.
//!
//! Owns the two error types of `line` and their messages.

use core::fmt;

use crate::limits::{MAX_LINE_BYTES, MAX_OWN_LINE_BYTES};

/// Reason why bytes from a pipe are not a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LineError {
    /// The line is empty or only white space.
    Blank,
    /// The line has no colon between a name and a value.
    NoColon,
    /// The line contains a newline: the bytes were not split into lines first.
    Newline {
        /// Its byte offset.
        at: usize,
    },
    /// The text after the last colon is neither an integer nor a float.
    NotANumber {
        /// The byte offset where the value begins, or would begin.
        at: usize,
    },
    /// The line has more than [`MAX_LINE_BYTES`] before its newline.
    TooLong,
    /// The stream ended before the newline of the line.
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

/// The caller's buffer cannot hold the next line. Nothing was written, and the line is not lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BufferTooSmall {
    /// The length of the line, in bytes.
    pub needed: usize,
    /// The size of the buffer, in bytes.
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
