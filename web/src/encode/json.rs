//! The result of a scrape as JSON.
//!
//! Owns the layout of the body, `{"stats":{...},"timestamp":...,"processes":{...}}`, and the escaping of names that are not
//! UTF-8. It must not scrape, sum or read a clock.

use std::borrow::Cow;

use serde::Serialize;
use serde::ser::{Error as _, Serializer};
use serde_json::value::RawValue;
use statvent_core::name::EscapedName;

use crate::aggregate::Sum;
use crate::collect::Counts;

/// The content type of JSON.
pub(crate) const CONTENT_TYPE: &str = "application/json";

/// Encodes sums, the time in seconds since 1970, and the counts of processes by status.
///
/// Stats keep their order. Integers are exact. An integer of more than 308 digits is `null`: no float holds it, and most
/// parsers would reject the whole text. A float that is not finite is `null` as well. For names see [`json_key`].
///
/// # Errors
/// No case is known. The error is passed on, so that the service answers with a failure instead of a panic.
///
/// ```
/// use statvent_web::{aggregate::Sum, collect::Counts, encode::json::encode_json};
///
/// let counts = Counts { ok: 2, ..Counts::default() };
/// let body = encode_json(&[(b"hits", Sum::Int(3))], 1.5, &counts)?;
/// assert_eq!(
///     String::from_utf8_lossy(&body),
///     r#"{"stats":{"hits":3},"timestamp":1.5,"processes":{"ok":2,"stale":0,"late":0,"unreadable":0,"ignored":0}}"#
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn encode_json(
    stats: &[(&[u8], Sum)],
    timestamp_seconds: f64,
    counts: &Counts,
) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&JsonBody { stats, timestamp: timestamp_seconds, processes: counts })
}

/// Returns the JSON key of a name: the name itself, with bytes that are not UTF-8 as `\xNN`.
///
/// Two names never have the same key; see [`EscapedName`]. Cost: copies the name only if something is escaped.
///
/// ```
/// use statvent_web::encode::json::json_key;
///
/// assert_eq!(json_key(b"caf\xc3\xa9"), "café");
/// assert_eq!(json_key(b"\xff"), r"\xff");
/// assert_eq!(json_key(br"\xff"), r"\x5cxff");
/// ```
#[must_use]
pub fn json_key(name: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(name) {
        Ok(text) if !text.contains(r"\x") => Cow::Borrowed(text),
        _ => Cow::Owned(EscapedName(name).to_string()),
    }
}

/// Integers up to this many digits are within the range of floats, also for a parser that rounds digit by digit.
const MAX_DIGITS: usize = f64::MAX_10_EXP as usize;

#[derive(Serialize)]
struct JsonBody<'a> {
    #[serde(serialize_with = "serialize_stats")]
    stats: &'a [(&'a [u8], Sum)],
    timestamp: f64,
    processes: &'a Counts,
}

fn serialize_stats<S: Serializer>(stats: &[(&[u8], Sum)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(stats.iter().map(|(name, sum)| (json_key(name), JsonNumber(sum))))
}

struct JsonNumber<'a>(&'a Sum);

impl Serialize for JsonNumber<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Sum::Int(int) => serializer.serialize_i128(*int),
            Sum::BigInt(int) => {
                let digits = int.to_string();
                if digits.trim_start_matches('-').len() <= MAX_DIGITS {
                    RawValue::from_string(digits).map_err(S::Error::custom)?.serialize(serializer)
                } else {
                    serializer.serialize_none()
                }
            }
            Sum::Float(float) => serializer.serialize_f64(*float),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stats_json(stats: &[(&[u8], Sum)]) -> String {
        let body = encode_json(stats, 0.0, &Counts::default()).unwrap();
        let text = String::from_utf8(body).unwrap();
        let end = text.find(",\"timestamp\"").unwrap();
        text[r#"{"stats":"#.len()..end].to_owned()
    }

    #[test]
    fn integers_are_exact_and_floats_are_not_integers() {
        let huge = "123456789012345678901234567890123456789012";
        let sums: &[(&[u8], Sum)] = &[
            (b"a", Sum::Int(18_446_744_073_709_551_617)),
            (b"b", Sum::BigInt(huge.parse().unwrap())),
            (b"c", Sum::Float(42.0)),
            (b"d", Sum::Float(1e300)),
        ];
        let expected = format!(r#"{{"a":18446744073709551617,"b":{huge},"c":42.0,"d":1e+300}}"#);
        assert_eq!(stats_json(sums), expected);
    }

    #[test]
    fn floats_that_are_not_finite_are_null() {
        for float in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(stats_json(&[(b"f", Sum::Float(float))]), r#"{"f":null}"#);
        }
    }

    #[test]
    fn integers_beyond_the_range_of_floats_are_null() {
        let largest = "9".repeat(308);
        let larger = format!("1{}", "0".repeat(308));
        let sums: &[(&[u8], Sum)] = &[
            (b"a", Sum::BigInt(largest.parse().unwrap())),
            (b"b", Sum::BigInt(format!("-{largest}").parse().unwrap())),
            (b"c", Sum::BigInt(larger.parse().unwrap())),
            (b"d", Sum::BigInt(format!("-{larger}").parse().unwrap())),
            (b"e", Sum::Float(f64::MAX)),
        ];
        let text = stats_json(sums);
        let max = "1.7976931348623157e+308";
        assert_eq!(text, format!(r#"{{"a":{largest},"b":-{largest},"c":null,"d":null,"e":{max}}}"#));
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
    }

    #[test]
    fn names_of_any_bytes_are_quoted() {
        let stats: &[(&[u8], Sum)] =
            &[(b"", Sum::Int(1)), (b"a\"b\t\0", Sum::Int(2)), (b"\xff", Sum::Int(3))];
        assert_eq!(stats_json(stats), r#"{"":1,"a\"b\t\u0000":2,"\\xff":3}"#);
    }

    /// Reverses `json_key`: every `\xNN` becomes a byte, and everything else stays.
    fn unescape(key: &str) -> Vec<u8> {
        let mut name = Vec::new();
        let mut rest = key.as_bytes();
        while let Some((first, tail)) = rest.split_first() {
            let byte = match rest {
                [b'\\', b'x', high, low, ..] => {
                    u8::from_str_radix(str::from_utf8(&[*high, *low]).unwrap_or("?"), 16).ok()
                }
                _ => None,
            };
            name.push(byte.unwrap_or(*first));
            rest = if byte.is_some() { &rest[4..] } else { tail };
        }
        name
    }

    proptest! {
        /// A key can be unescaped to its name, so no two names share a key.
        #[test]
        fn keys_unescape_to_their_names(
            name in prop::collection::vec(prop::sample::select(&b"\\\\\\xxxf05cg\xff\xc3\xa9"[..]), 0..12)
        ) {
            prop_assert_eq!(unescape(&json_key(&name)), name);
        }
    }
}
