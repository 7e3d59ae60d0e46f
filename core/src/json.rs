//! Snapshot of a registry as JSON.
//!
//! Owns the shape of that JSON: one object, `{"name":value,...}`, with the order and values of the text. The writer
//! is written by hand, because one float through serde-json-core adds 16.6 KB to a small program. The tests compare
//! the two.

use core::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};

pub use crate::error::JsonTooLong;
use crate::line::format::put;
use crate::names::name::EscapedName;
use crate::snapshot::Reader;
use crate::value::Value;

/// Serialises as one map from names to values. Bytes of a name that are not UTF-8 become `\xNN`.
impl Serialize for Reader<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut snapshot = self.snapshot();
        while let Some((name, stored)) = snapshot.current() {
            map.serialize_key(&Key(EscapedName(name)))?;
            match stored.value() {
                Value::Int(int) => map.serialize_value(&int)?,
                Value::Float(float) => map.serialize_value(&float)?,
            }
            snapshot.advance();
        }
        map.end()
    }
}

struct Key<'a>(EscapedName<'a>);

impl Serialize for Key<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl Reader<'_> {
    /// Writes all stats as one JSON object to the beginning of `out`. Returns its length in bytes.
    ///
    /// Bytes of a name that are not UTF-8 become `\xNN`. Integers are exact. Floats that are not finite are `null`.
    /// Allocates nothing.
    ///
    /// # Errors
    /// [`JsonTooLong`] if `out` is too small. Then `out` holds the beginning of the JSON.
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
        let mut out = out;
        write(self, &mut out).map_err(|_| JsonTooLong { available })?;
        Ok(available - out.len())
    }
}

/// The only error is a full buffer.
fn write(reader: Reader<'_>, out: &mut &mut [u8]) -> fmt::Result {
    let mut snapshot = reader.snapshot();
    let mut before: &[u8] = b"{";
    while let Some((name, value)) = snapshot.current() {
        push(before, out)?;
        push(b"\"", out)?;
        EscapedName(name).write_to(|piece| piece.bytes().try_for_each(|byte| put_escaped(byte, out)))?;
        push(b"\":", out)?;
        match value.value() {
            Value::Float(float) if !float.is_finite() => push(b"null", out),
            _ => value.with_text(|text| push(text, out)),
        }?;
        before = b",";
        snapshot.advance();
    }
    push(if before == b"{" { b"{}" } else { b"}" }, out)
}

/// Not inlined, so that it is compiled once.
#[inline(never)]
fn push(bytes: &[u8], out: &mut &mut [u8]) -> fmt::Result {
    put(bytes, out)
}

/// Writes one byte of a JSON string.
fn put_escaped(byte: u8, out: &mut &mut [u8]) -> fmt::Result {
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'A' + value - 10 };
    match byte {
        b'"' => push(br#"\""#, out),
        b'\\' => push(br"\\", out),
        b'\r' => push(br"\r", out),
        b'\t' => push(br"\t", out),
        0x08 => push(br"\b", out),
        0x0c => push(br"\f", out),
        0..0x20 => push(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)], out),
        _ => push(&[byte], out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{boxed::Box, string::String, vec};

    use crate::Registry;

    fn text_of(write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Option<String> {
        let mut out = vec![0; 8192];
        let n_bytes = write(&mut out)?;
        out.truncate(n_bytes);
        String::from_utf8(out).ok()
    }

    fn assert_equals_serde_json_core(reader: Reader<'_>) {
        let actual = text_of(|out| reader.write_json(out).ok());
        let expected = text_of(|out| serde_json_core::to_slice(&reader, out).ok());
        assert!(actual.is_some());
        assert_eq!(actual, expected);
    }

    #[test]
    fn every_byte_is_written_as_by_serde_json_core() {
        static STATS: Registry<256, 0, 1024> = Registry::new();
        for byte in (0..=u8::MAX).filter(|byte| *byte != b'\n') {
            STATS.set([b'<', byte, b'>'], byte);
        }
        assert_equals_serde_json_core(STATS.reader());
    }

    proptest! {
        #[test]
        fn every_number_is_written_as_by_serde_json_core(int: i64, float: f64) {
            let stats: Box<Registry<4, 1, 8>> = Box::default();
            stats.set("int", int);
            stats.set("float", float);
            stats.record("{0}", float);
            assert_equals_serde_json_core(stats.reader());
        }
    }
}
