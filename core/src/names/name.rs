//! Rules of names, the `{0}` template of a series, and names as text.
//!
//! Owns the rules, at run time and at compile time. It does not store names (see `directory`). It does not read
//! lines (see `line`): names from other programs are accepted as they are.

use core::fmt;

pub use super::error::NameError;
pub use crate::limits::MAX_NAME_BYTES;

/// The prefix of the library's own stats.
pub const RESERVED_PREFIX: &[u8] = PREFIX;

/// The stat that counts rejected calls. It is published once it is above zero.
pub const REJECTED_NAME: &[u8] = b"statvent.rejected";

const PREFIX: &[u8; 9] = b"statvent.";
const PLACEHOLDER: &[u8; 3] = b"{0}";

/// Returns whether `byte` is ASCII white space by the definition of Python's `strip`: space, or bytes 9 to 13.
#[inline]
#[must_use]
pub const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Checks the name of a stat: 1 to 255 bytes, no newline, no white space at either end, no reserved prefix.
///
/// Cost: one pass over the bytes. Usable at compile time.
///
/// # Errors
/// The first rule that is broken.
///
/// ```
/// use statvent_core::name::{check_name, NameError};
///
/// assert_eq!(check_name(b"My Nice Stat"), Ok(()));
/// assert_eq!(check_name(b" x"), Err(NameError::OuterSpace { at: 0 }));
/// assert_eq!(check_name(b"statvent.mine"), Err(NameError::Reserved));
/// ```
pub const fn check_name(name: &[u8]) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong { found: name.len() });
    }
    let mut at = 0;
    while at < name.len() {
        if name[at] == b'\n' {
            return Err(NameError::Newline { at });
        }
        at += 1;
    }
    if is_space(name[0]) {
        return Err(NameError::OuterSpace { at: 0 });
    }
    if is_space(name[name.len() - 1]) {
        return Err(NameError::OuterSpace { at: name.len() - 1 });
    }
    if matches!(name.first_chunk(), Some(PREFIX)) {
        return Err(NameError::Reserved);
    }
    Ok(())
}

/// Checks the name of a series without its labels: the rules of a stat's name, and at least one `{0}`.
///
/// Usable at compile time. A registry also checks the name with each of its labels.
///
/// # Errors
/// The first rule that is broken.
pub const fn check_template(template: &[u8]) -> Result<(), NameError> {
    if let Err(err) = check_name(template) {
        return Err(err);
    }
    let mut rest = template;
    while let [_, tail @ ..] = rest {
        if matches!(rest.first_chunk(), Some(PLACEHOLDER)) {
            return Ok(());
        }
        rest = tail;
    }
    Err(NameError::NoPlaceholder)
}

/// Function that writes the name of one quantile to `out`, from the name of the series and the label.
///
/// It is passed to `record_with`. Calls with equal arguments must write equal bytes.
pub type FormatName = fn(name: &[u8], label: &str, out: &mut NameBuf);

/// Replaces every `{0}` with the label: the default naming of quantiles.
pub fn expand_template(template: &[u8], label: &str, out: &mut NameBuf) {
    let mut rest = template;
    while let Some((before, after)) = split_at_placeholder(rest) {
        out.push(before);
        out.push(label.as_bytes());
        rest = after;
    }
    out.push(rest);
}

fn split_at_placeholder(template: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = template.windows(PLACEHOLDER.len()).position(|window| window == PLACEHOLDER)?;
    let (before, rest) = template.split_at_checked(at)?;
    Some((before, rest.get(PLACEHOLDER.len()..)?))
}

/// Buffer for one name, filled by a [`FormatName`].
///
/// A piece that does not fit is dropped and makes the name invalid.
#[derive(Debug, Default)]
pub struct NameBuf {
    bytes: heapless::Vec<u8, MAX_NAME_BYTES>,
    offered: usize,
}

impl NameBuf {
    /// Returns an empty buffer.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: heapless::Vec::new(), offered: 0 }
    }

    /// Appends bytes. If they do not fit, the name counts as too long.
    pub fn push(&mut self, piece: &[u8]) {
        self.offered = self.offered.saturating_add(piece.len());
        if self.offered <= MAX_NAME_BYTES {
            // Fits, because all pieces before fitted.
            let _ = self.bytes.extend_from_slice(piece);
        }
    }

    /// Returns the bytes so far, without any check.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the name if it is complete and follows the rules of [`check_name`].
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn finish(&self) -> Result<&[u8], NameError> {
        if self.offered > MAX_NAME_BYTES {
            return Err(NameError::TooLong { found: self.offered });
        }
        check_name(&self.bytes)?;
        Ok(&self.bytes)
    }
}

impl fmt::Write for NameBuf {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        self.push(piece.as_bytes());
        Ok(())
    }
}

/// Displays a name as text: bytes that are not UTF-8 become `\xNN`.
///
/// Different names have different texts: if a name contains the text `\xNN`, its backslash becomes `\x5c`. So
/// every `\xNN` in the output means that byte.
///
/// ```
/// use statvent_core::name::EscapedName;
///
/// assert_eq!(EscapedName(b"caf\xc3\xa9 \xff").to_string(), r"café \xff");
/// assert_eq!(EscapedName(br"\xff").to_string(), r"\x5cxff");
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EscapedName<'a>(
    /// The name's bytes.
    pub &'a [u8],
);

impl fmt::Display for EscapedName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_to(|piece| f.write_str(piece))
    }
}

impl EscapedName<'_> {
    /// Calls `write` with the text, piece by piece, without a formatter.
    pub(crate) fn write_to(&self, mut write: impl FnMut(&str) -> fmt::Result) -> fmt::Result {
        let digit = |value: u8| "0123456789abcdef".get(value.into()..=value.into()).unwrap_or_default();
        for chunk in self.0.utf8_chunks() {
            write_unambiguous(chunk.valid(), &mut write)?;
            for byte in chunk.invalid() {
                write("\\x")?;
                write(digit(byte >> 4))?;
                write(digit(byte & 15))?;
            }
        }
        Ok(())
    }
}

/// Writes text and escapes a backslash that looks like the start of an escape. Written so that the compiler sees
/// that it cannot panic.
fn write_unambiguous(mut text: &str, write: &mut impl FnMut(&str) -> fmt::Result) -> fmt::Result {
    let backslash = |text: &str| text.bytes().position(|byte| byte == b'\\');
    while let Some((before, rest)) = backslash(text).and_then(|at| text.split_at_checked(at)) {
        write(before)?;
        let is_escape = matches!(rest.as_bytes(), [_, b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit());
        write(if is_escape { r"\x5c" } else { r"\" })?;
        text = rest.get(1..).unwrap_or_default();
    }
    write(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{format, string::ToString, vec};

    #[test]
    fn the_longest_name_fits_and_one_more_byte_does_not() {
        assert_eq!(check_name(&[b'n'; 255]), Ok(()));
        assert_eq!(check_name(&[b'n'; 256]), Err(NameError::TooLong { found: 256 }));
    }

    #[test]
    fn every_rule_has_its_error() {
        let cases: &[(&[u8], NameError)] = &[
            (b"", NameError::Empty),
            (b"a\nb", NameError::Newline { at: 1 }),
            (b"\ta", NameError::OuterSpace { at: 0 }),
            (b"a\x0b", NameError::OuterSpace { at: 1 }),
            (b"statvent.x", NameError::Reserved),
        ];
        for (name, expected) in cases {
            assert_eq!(check_name(name), Err(*expected), "{name:?}");
        }
        assert_eq!(check_template(b"rpc"), Err(NameError::NoPlaceholder));
        assert_eq!(check_template(b"{0}"), Ok(()));
    }

    #[test]
    fn any_byte_but_a_newline_is_valid_inside_a_name() {
        for name in [&b"a: b"[..], b"a\tb", b"{\"}\0\xff", b"statvent", b"rpc{method=\"get\"}"] {
            assert_eq!(check_name(name), Ok(()), "{name:?}");
        }
    }

    #[test]
    fn messages_say_what_was_found() {
        let long = NameError::TooLong { found: 300 }.to_string();
        assert_eq!(long, "a stat's name is longer than 255 bytes: shorten it (found 300 bytes)");
        let newline = NameError::Newline { at: 3 }.to_string();
        assert_eq!(newline, "a stat's name contains a newline: a line holds one stat (at byte 3)");
        assert_eq!(NameError::Empty.to_string(), "a stat's name is empty: give it 1 to 255 bytes");
    }

    #[test]
    fn every_placeholder_becomes_the_label_and_other_braces_stay() {
        let mut out = NameBuf::new();
        expand_template(b"{0}.rpc{q=\"{0}\"}{1}{0", "95th", &mut out);
        assert_eq!(out.finish(), Ok(&b"95th.rpc{q=\"95th\"}{1}{0"[..]));
    }

    #[test]
    fn a_name_that_grows_too_long_is_rejected() {
        let mut template = vec![b'n'; 252];
        template.extend_from_slice(b"{0}");
        let mut out = NameBuf::new();
        expand_template(&template, "median", &mut out);
        assert_eq!(out.finish(), Err(NameError::TooLong { found: 258 }));
    }

    #[test]
    fn escapes_show_every_byte_that_is_not_text() {
        assert_eq!(format!("{}", EscapedName(b"\xc3(\x00\xf0\x9f")), "\\xc3(\0\\xf0\\x9f");
    }

    #[test]
    fn text_that_looks_like_an_escape_is_escaped() {
        for (name, shown) in [
            (&br"\xff"[..], r"\x5cxff"),
            (br"\\xff", r"\\x5cxff"),
            (br"\x", r"\x"),
            (br"a\b\xg0", r"a\b\xg0"),
            (b"\\x\xff", r"\x\xff"),
        ] {
            assert_eq!(EscapedName(name).to_string(), shown);
        }
    }
}
