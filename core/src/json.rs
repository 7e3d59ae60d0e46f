//! A snapshot as JSON, into the caller's buffer.
//!
//! Owns the shape of that JSON: one object, `{"name":value,...}`. Same order and values as the text. It is written by
//! hand, because with a general serialiser one float took 17 KB of a microcontroller's program.

use core::fmt;

use crate::line::put;
use crate::name::EscapedName;
use crate::snapshot::{Reader, Walk};
use crate::value::Value;

/// The caller's buffer cannot hold the JSON.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct JsonTooLong {
    /// The bytes that the buffer has.
    pub available: usize,
}

impl fmt::Display for JsonTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the stats as JSON do not fit the buffer of {} bytes: give a larger one", self.available)
    }
}

impl core::error::Error for JsonTooLong {}

impl Reader<'_> {
    /// Writes all stats as one JSON object to the beginning of `out` and returns its length in bytes.
    ///
    /// Bytes of a name that are not UTF-8 become `\xNN`. Integers are exact; floats that are not finite are `null`.
    /// Allocates nothing.
    ///
    /// # Errors
    /// [`JsonTooLong`] if `out` is too small; its contents are then part of the JSON.
    ///
    /// ```
    /// use statvent_core::Registry;
    ///
    /// static STATS: Registry<8, 0, 64> = Registry::new();
    /// STATS.incr("requests", 3);
    /// STATS.set("load", 0.5);
    /// let mut out = [0; 64];
    /// let n_bytes = STATS.reader().write_json(&mut out)?;
    /// assert_eq!(&out[..n_bytes], br#"{"requests":3,"load":0.5}"#);
    /// # Ok::<(), statvent_core::json::JsonTooLong>(())
    /// ```
    pub fn write_json(self, out: &mut [u8]) -> Result<usize, JsonTooLong> {
        let available = out.len();
        let mut json = Json { room: out };
        match json.write(self) {
            Ok(()) => Ok(available - json.room.len()),
            Err(fmt::Error) => Err(JsonTooLong { available }),
        }
    }
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
        let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + value - 10 };
        match byte {
            b'"' => self.push(br#"\""#),
            b'\\' => self.push(br"\\"),
            b'\n' => self.push(br"\n"),
            b'\r' => self.push(br"\r"),
            b'\t' => self.push(br"\t"),
            0..0x20 => self.push(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]),
            _ => self.push(&[byte]),
        }
    }
}
