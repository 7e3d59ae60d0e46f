//! Splitter of a byte stream into lines.
//!
//! Owns the unfinished line at the end of a chunk, up to a limit. It does not interpret lines (see `parse`).

use super::error::LineError;
use crate::limits::MAX_LINE_BYTES;

/// Splits a stream of bytes into lines.
///
/// The lines do not depend on the sizes of the chunks. A line longer than [`MAX_LINE_BYTES`] is reported once and
/// skipped to its end. Holds one line, 4 KiB, in place and allocates nothing. A line that is complete within a
/// chunk is not copied.
///
/// ```
/// use statvent_core::line::{LineError, LineSplitter};
///
/// let mut splitter = LineSplitter::new();
/// let mut lines = Vec::new();
/// for chunk in [&b"a: 1\nb:"[..], b" 2\n", b"c: 3"] {
///     splitter.feed(chunk, |line| lines.extend(line.map(<[u8]>::to_vec)));
/// }
/// assert_eq!(lines, [b"a: 1", b"b: 2"]);
/// assert_eq!(splitter.finish(), Err(LineError::Torn));
/// ```
#[derive(Debug, Default)]
pub struct LineSplitter {
    partial: heapless::Vec<u8, MAX_LINE_BYTES>,
    skipping: bool,
}

impl LineSplitter {
    /// Returns a splitter at the beginning of a stream.
    #[must_use]
    pub const fn new() -> Self {
        Self { partial: heapless::Vec::new(), skipping: false }
    }

    /// Processes the next chunk. Calls `on_line` for each line that ends in it, without its newline, or with
    /// [`LineError::TooLong`] if the line exceeds the limit.
    pub fn feed(&mut self, mut chunk: &[u8], mut on_line: impl FnMut(Result<&[u8], LineError>)) {
        while let Some(newline_idx) = memchr::memchr(b'\n', chunk) {
            let line_end = &chunk[..newline_idx];
            chunk = &chunk[newline_idx + 1..];
            if core::mem::take(&mut self.skipping) {
                continue;
            }
            if self.partial.is_empty() && line_end.len() <= MAX_LINE_BYTES {
                on_line(Ok(line_end));
            } else if self.partial.extend_from_slice(line_end).is_ok() {
                on_line(Ok(&self.partial));
            } else {
                on_line(Err(LineError::TooLong));
            }
            self.partial.clear();
        }
        if !self.skipping && self.partial.extend_from_slice(chunk).is_err() {
            self.partial.clear();
            self.skipping = true;
            on_line(Err(LineError::TooLong));
        }
    }

    /// Ends the stream and resets the splitter for another one.
    ///
    /// # Errors
    /// [`LineError::Torn`] if the stream ended within a line that was not reported yet.
    pub fn finish(&mut self) -> Result<(), LineError> {
        let torn = !self.partial.is_empty();
        *self = Self::new();
        if torn { Err(LineError::Torn) } else { Ok(()) }
    }
}
