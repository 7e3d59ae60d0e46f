//! Writes one line: `name: value` and a newline.
//!
//! Owns how a line is laid out. It does not check the name: a registry did when it took it.

use super::error::BufferTooSmall;
use super::number::{MAX_VALUE_BYTES, Number};
use crate::name::MAX_NAME_BYTES;

/// The longest line that a registry writes, newline included: a buffer of this many bytes holds any.
pub const MAX_OWN_LINE_BYTES: usize = MAX_NAME_BYTES + SEPARATOR.len() + MAX_VALUE_BYTES + 1;

const SEPARATOR: &[u8] = b": ";

/// Writes the line of one stat to the beginning of `out` and returns its length in bytes.
///
/// Integers as decimal digits; floats as the shortest text that reads back equal, always with a point, an
/// exponent or a word (`nan`, `inf`, `-inf`). Allocates nothing, cannot block.
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
    value.into().with_text(|text| {
        let needed = name.len() + SEPARATOR.len() + text.len() + 1;
        let available = out.len();
        let line = out.get_mut(..needed).ok_or(BufferTooSmall { needed, available })?;
        let (name_room, rest) = line.split_at_mut(name.len());
        let (separator_room, rest) = rest.split_at_mut(SEPARATOR.len());
        let (text_room, newline_room) = rest.split_at_mut(text.len());
        name_room.copy_from_slice(name);
        separator_room.copy_from_slice(SEPARATOR);
        text_room.copy_from_slice(text);
        newline_room.copy_from_slice(b"\n");
        Ok(needed)
    })
}
