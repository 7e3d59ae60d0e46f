//! Writes one line: `name: value` and a newline.
//!
//! Owns how a line is laid out. It does not check the name: a registry did when it took it.

use core::fmt;

use super::error::BufferTooSmall;
use super::limits::SEPARATOR;
use super::number::Number;

/// Writes the line of one stat to the beginning of `out` and returns its length in bytes.
///
/// Integers as decimal digits; floats as the shortest text that reads back equal, always with a point, an
/// exponent or a word (`nan`, `inf`, `-inf`). Allocates nothing, cannot block. A name of more bytes than a registry
/// takes may make a line that is longer than readers take ([`MAX_LINE_BYTES`](super::MAX_LINE_BYTES)).
///
/// # Errors
/// [`BufferTooSmall`] says how much is missing; `out` is left as it was.
///
/// ```
/// use statvent_core::{line::format_line, Value};
///
/// let mut out = [0; 32];
/// let n_bytes = format_line(b"queue.depth", Value::Int(3), &mut out)?;
/// assert_eq!(&out[..n_bytes], b"queue.depth: 3\n");
/// # Ok::<(), statvent_core::line::BufferTooSmall>(())
/// ```
pub fn format_line<'a>(
    name: &[u8],
    value: impl Into<Number<'a>>,
    out: &mut [u8],
) -> Result<usize, BufferTooSmall> {
    value.into().with_text(|text| format_text_line(name, text, out))
}

/// Writes a line whose value is text already.
#[inline]
pub(crate) fn format_text_line(name: &[u8], text: &[u8], out: &mut [u8]) -> Result<usize, BufferTooSmall> {
    let needed = name.len().saturating_add(SEPARATOR.len() + b"\n".len()).saturating_add(text.len());
    let available = out.len();
    if needed > available {
        return Err(BufferTooSmall { needed, available });
    }
    let mut rest = out;
    // All of them fit. One by one, because the compiler copies what has a known length without a call.
    let _ = put(name, &mut rest).is_ok()
        && put(SEPARATOR, &mut rest).is_ok()
        && put(text, &mut rest).is_ok()
        && put(b"\n", &mut rest).is_ok();
    Ok(needed)
}

/// Puts bytes to the beginning of the room, which is what is behind them afterwards; an error if they do not fit.
///
/// In a form that says that it cannot panic, for programs without room for messages.
#[inline]
pub(crate) fn put(bytes: &[u8], room: &mut &mut [u8]) -> fmt::Result {
    let (place, rest) = core::mem::take(room).split_at_mut_checked(bytes.len()).ok_or(fmt::Error)?;
    place.iter_mut().zip(bytes).for_each(|(to, byte)| *to = *byte);
    *room = rest;
    Ok(())
}
