//! The name of a stat: its rules, the `{0}` template of a series, and how a name is shown as text.
//!
//! Owns what a good name is, at run time and at compile time. It does not store names (see `directory`) and does
//! not read lines (see `line`), whose names come from others and are taken as they are.

use core::fmt;

pub use super::error::NameError;

/// The longest name, in bytes.
pub const MAX_NAME_BYTES: usize = 255;

/// The beginning of names that this library keeps for its own stats.
pub const RESERVED_PREFIX: &[u8] = PREFIX;

/// The stat that counts what could not be recorded; published once it is above zero.
pub const REJECTED_NAME: &[u8] = b"statvent.rejected";

const PREFIX: &[u8; 9] = b"statvent.";
const PLACEHOLDER: &[u8; 3] = b"{0}";

/// Says whether `byte` is ASCII white space as Python's `strip` has it: the space and bytes 9 to 13.
#[inline]
#[must_use]
pub const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Checks the name of a stat: 1 to 255 bytes, no newline, no white space at either end, not ours.
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

/// Checks the name of a series before its labels are known: the rules of a stat's name, and a `{0}` in it.
///
/// Usable at compile time. A registry checks each name with its label in it as well.
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

/// Writes the name of one quantile of a series: its own name, the label, and where to write.
///
/// Given to `record_with`. It must write the same bytes each time it is called with the same arguments.
pub type FormatName = fn(name: &[u8], label: &str, out: &mut NameBuf);

/// Puts the label in the place of every `{0}`: how names of series become names of stats unless told otherwise.
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

/// Room for one name, into which a [`FormatName`] writes.
///
/// What does not fit is left out and makes the name invalid.
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

    /// Appends bytes; from the first piece that does not fit the name is too long.
    pub fn push(&mut self, piece: &[u8]) {
        self.offered = self.offered.saturating_add(piece.len());
        if self.offered <= MAX_NAME_BYTES {
            // Fits, because everything offered so far was taken.
            let _ = self.bytes.extend_from_slice(piece);
        }
    }

    /// Returns what was taken.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the name if it is whole and keeps the rules of [`check_name`].
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

/// Shows a name as text: bytes that are not UTF-8 become `\xNN`.
///
/// Two names never look the same: where a name itself has the text `\xNN`, its backslash becomes `\x5c`. So every
/// `\xNN` that is shown stands for that byte.
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
    /// Calls `write` with one piece of the text after the other, without a formatter.
    pub(crate) fn write_to(&self, mut write: impl FnMut(&str) -> fmt::Result) -> fmt::Result {
        let digit = |value: u8| "0123456789abcdef".get(value.into()..=value.into()).unwrap_or_default();
        for chunk in self.0.utf8_chunks() {
            write_guarded(chunk.valid(), &mut write)?;
            for byte in chunk.invalid() {
                write("\\x")?;
                write(digit(byte >> 4))?;
                write(digit(byte & 15))?;
            }
        }
        Ok(())
    }
}

/// Writes text, with the backslash of what could be taken for an escape escaped. In a form that says that it cannot panic.
fn write_guarded(mut text: &str, write: &mut impl FnMut(&str) -> fmt::Result) -> fmt::Result {
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
    fn odd_bytes_inside_are_fine() {
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
    fn a_name_that_grows_too_long_is_refused_whole() {
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
    fn text_that_looks_like_an_escape_is_told_from_one() {
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
