//! Parser of one line: a name, the last colon, a number.
//!
//! Owns the definition of a valid line. Any program can write to a pipe, so it assumes nothing about the bytes.

use super::error::LineError;
use super::number::Number;
use crate::limits::MAX_LINE_BYTES;
use crate::names::name::is_space;

/// Name and value of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line<'a> {
    /// The name: trimmed, any bytes except a newline, possibly empty.
    pub name: &'a [u8],
    /// The value.
    pub value: Number<'a>,
}

/// Parses one line, with or without its newline.
///
/// Splits at the last colon and trims ASCII white space around both halves. Accepts integers of any length,
/// exactly, and every text that Rust parses as an `f64`. Cost: two passes over the line, no allocation.
///
/// # Errors
/// [`LineError`] with the reason. An offset lies within the line or at its end.
///
/// ```
/// use statvent_core::line::{parse_line, LineError, Number};
///
/// let line = parse_line(b"  a: b :  -3 \r\n")?;
/// assert_eq!((line.name, line.value), (&b"a: b"[..], Number::Int(-3)));
/// assert_eq!(parse_line(b"x: 0x10"), Err(LineError::NotANumber { at: 3 }));
/// # Ok::<(), LineError>(())
/// ```
pub fn parse_line(line: &[u8]) -> Result<Line<'_>, LineError> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    if line.len() > MAX_LINE_BYTES {
        return Err(LineError::TooLong);
    }
    if let Some(at) = memchr::memchr(b'\n', line) {
        return Err(LineError::Newline { at });
    }
    let Some(colon_idx) = memchr::memrchr(b':', line) else {
        return Err(if line.iter().copied().all(is_space) { LineError::Blank } else { LineError::NoColon });
    };
    let (n_spaces, text) = trim(&line[colon_idx + 1..]);
    let value = Number::parse(text).ok_or(LineError::NotANumber { at: colon_idx + 1 + n_spaces })?;
    Ok(Line { name: trim(&line[..colon_idx]).1, value })
}

/// Trims white space at both ends. Returns the number of bytes removed in front, and the rest.
#[inline]
fn trim(bytes: &[u8]) -> (usize, &[u8]) {
    let mut rest = bytes;
    while let [first, inner @ ..] = rest
        && is_space(*first)
    {
        rest = inner;
    }
    let n_cut = bytes.len() - rest.len();
    while let [inner @ .., last] = rest
        && is_space(*last)
    {
        rest = inner;
    }
    (n_cut, rest)
}
