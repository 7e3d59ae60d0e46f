//! Writer of one line: `name: value` and a newline.
//!
//! Owns the layout of a line. It does not check the name: the registry did so when the name was new.

use core::fmt;

use super::error::BufferTooSmall;
use super::number::Number;

/// The bytes between the name and the value.
const SEPARATOR: &[u8] = b": ";

/// Writes the line of one stat to the beginning of `out`. Returns its length in bytes.
///
/// Integers are decimal digits. Floats are the shortest text that reads back equal, always with a point, an
/// exponent or a word (`nan`, `inf`, `-inf`). Allocates nothing and does not block. With a name that is longer than
/// a registry accepts, the line may be longer than readers accept ([`MAX_LINE_BYTES`](super::MAX_LINE_BYTES)).
///
/// # Errors
/// [`BufferTooSmall`] with the size that is needed. `out` is unchanged.
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

/// Writes a line whose value is already text.
#[inline]
pub(crate) fn format_text_line(name: &[u8], text: &[u8], out: &mut [u8]) -> Result<usize, BufferTooSmall> {
    let needed = name.len().saturating_add(SEPARATOR.len() + b"\n".len()).saturating_add(text.len());
    let available = out.len();
    if needed > available {
        return Err(BufferTooSmall { needed, available });
    }
    let mut rest = out;
    // All parts fit. They are copied one by one, because the compiler inlines copies of known length.
    let _ = put(name, &mut rest).is_ok()
        && put(SEPARATOR, &mut rest).is_ok()
        && put(text, &mut rest).is_ok()
        && put(b"\n", &mut rest).is_ok();
    Ok(needed)
}

/// Copies bytes to the beginning of the buffer and advances it past them; an error if they do not fit.
///
/// Written so that the compiler sees that it cannot panic, for programs without space for panic messages.
#[inline]
pub(crate) fn put(bytes: &[u8], buf: &mut &mut [u8]) -> fmt::Result {
    let (dest, rest) = core::mem::take(buf).split_at_mut_checked(bytes.len()).ok_or(fmt::Error)?;
    dest.iter_mut().zip(bytes).for_each(|(to, byte)| *to = *byte);
    *buf = rest;
    Ok(())
}
