//! The writing of JSON for small programs: by hand, because one float through a general serialiser took 16.6 KB of a
//! Cortex-M0's program.
//!
//! Owns the bytes of a map of names to values, the same as `json` gives to programs with threads; the tests of
//! `core/tests` hold for both. Called by `json`.

use core::fmt;

use crate::line::put;
use crate::name::EscapedName;
use crate::snapshot::{Reader, Walk};
use crate::value::Value;

/// Writes all stats to the beginning of `out` and returns their length in bytes; `None` if they do not fit.
pub(crate) fn write(reader: Reader<'_>, out: &mut [u8]) -> Option<usize> {
    let available = out.len();
    let mut json = Json { room: out };
    json.write(reader).ok()?;
    Some(available - json.room.len())
}

/// JSON as it is written; an error is a full buffer.
struct Json<'a> {
    room: &'a mut [u8],
}

impl Json<'_> {
    fn write(&mut self, reader: Reader<'_>) -> fmt::Result {
        let mut walk = Walk::new(reader);
        let mut before: &[u8] = b"{";
        while let Some((name, value)) = walk.stat() {
            self.push(before)?;
            self.push(b"\"")?;
            EscapedName(name).write_to(|piece| piece.bytes().try_for_each(|byte| self.push_escaped(byte)))?;
            self.push(b"\":")?;
            match value.value() {
                Value::Float(float) if !float.is_finite() => self.push(b"null"),
                _ => value.with_text(|text| self.push(text)),
            }?;
            before = b",";
            walk.advance();
        }
        self.push(if before == b"{" { b"{}" } else { b"}" })
    }

    fn push(&mut self, bytes: &[u8]) -> fmt::Result {
        if put(bytes, &mut self.room) { Ok(()) } else { Err(fmt::Error) }
    }

    /// Pushes a byte of what stands between quotes.
    fn push_escaped(&mut self, byte: u8) -> fmt::Result {
        let digit = |value: u8| if value < 10 { b'0' + value } else { b'A' + value - 10 };
        match byte {
            b'"' => self.push(br#"\""#),
            b'\\' => self.push(br"\\"),
            b'\n' => self.push(br"\n"),
            b'\r' => self.push(br"\r"),
            b'\t' => self.push(br"\t"),
            0x08 => self.push(br"\b"),
            0x0c => self.push(br"\f"),
            0..0x20 => self.push(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]),
            _ => self.push(&[byte]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{string::String, vec};

    use crate::Registry;

    fn text_of(write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Option<String> {
        let mut out = vec![0; 8192];
        let n_bytes = write(&mut out)?;
        out.truncate(n_bytes);
        String::from_utf8(out).ok()
    }

    #[test]
    fn every_byte_is_written_as_the_general_serialiser_does() {
        static STATS: Registry<256, 0, 1024> = Registry::new();
        for byte in (0..=u8::MAX).filter(|byte| *byte != b'\n') {
            STATS.set([b'<', byte, b'>'], byte);
        }
        let reader = STATS.reader();
        let ours = text_of(|out| write(reader, out));
        let theirs = text_of(|out| serde_json_core::to_slice(&reader, out).ok());
        assert!(ours.is_some());
        assert_eq!(ours, theirs);
    }
}
