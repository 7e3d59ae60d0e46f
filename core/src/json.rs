//! A snapshot as JSON, into the caller's buffer.
//!
//! Owns the shape of that JSON: one object, `{"name":value,...}`. Same order and values as the text. Small programs have
//! it written by `masked::json`.

use core::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::name::EscapedName;
use crate::snapshot::{Reader, Walk};
use crate::value::Value;

#[cfg(all(feature = "critical-section", not(feature = "std")))]
use crate::masked::json::write;

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

/// Serialises as one map from names to values; bytes of a name that are not UTF-8 become `\xNN`.
impl Serialize for Reader<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut walk = Walk::new(*self);
        while let Some((name, stored)) = walk.stat() {
            map.serialize_key(&Key(EscapedName(name)))?;
            match stored.value() {
                Value::Int(int) => map.serialize_value(&int)?,
                Value::Float(float) => map.serialize_value(&float)?,
            }
            walk.advance();
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
        write(self, out).ok_or(JsonTooLong { available })
    }
}

/// The only error of this serialiser, for what we serialise, is a full buffer.
#[cfg(not(all(feature = "critical-section", not(feature = "std"))))]
fn write(reader: Reader<'_>, out: &mut [u8]) -> Option<usize> {
    serde_json_core::to_slice(&reader, out).ok()
}
