//! Number in a line, of any size.
//!
//! Owns the text of numbers: what is a number, and how a number is written. A number that an `i64` cannot hold is
//! borrowed from its line.

use crate::limits::MAX_VALUE_BYTES;
use crate::value::Value;

/// Value of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number<'a> {
    /// An integer that fits an `i64`.
    Int(i64),
    /// An integer that does not fit: an optional sign and ASCII digits, as in the line.
    BigInt(&'a [u8]),
    /// A float.
    Float(f64),
}

impl From<Value> for Number<'_> {
    fn from(value: Value) -> Self {
        match value {
            Value::Int(int) => Self::Int(int),
            Value::Float(float) => Self::Float(float),
        }
    }
}

impl<'a> Number<'a> {
    /// Parses what Python's `int()` and `float()` accept, without `_` and white space.
    #[inline]
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        let digits = unsigned(text);
        match magnitude(digits) {
            Magnitude::Small(magnitude) if text[0] == b'-' => Some(Self::Int(-magnitude)),
            Magnitude::Small(magnitude) => Some(Self::Int(magnitude)),
            Magnitude::Large => Some(large_int(text).map_or(Self::BigInt(text), Self::Int)),
            Magnitude::None => core::str::from_utf8(text).ok()?.parse().ok().map(Self::Float),
        }
    }

    /// Calls `write` with the text of the number: digits, or the shortest float that reads back equal.
    #[inline]
    pub(crate) fn with_text<R>(self, write: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Self::Int(int) => write(itoa::Buffer::new().format(int).as_bytes()),
            Self::BigInt(text) => write(text),
            Self::Float(float) => with_float_text(float, write),
        }
    }
}

/// Buffer for the text of any 64-bit integer or float.
pub(crate) type TextBuf = [u8; MAX_VALUE_BYTES];

/// Calls `write` with the shortest text that reads back equal. An exponent has no plus sign.
pub(crate) fn with_float_text<R>(float: f64, write: impl FnOnce(&[u8]) -> R) -> R {
    /// Floats from here on may have a positive exponent.
    const LARGE: u64 = 1e15f64.to_bits();
    const INFINITE: u64 = f64::INFINITY.to_bits();

    // Compared as integers: small processors call a function to compare floats.
    match float.abs().to_bits() {
        INFINITE if float.is_sign_negative() => write(b"-inf"),
        INFINITE => write(b"inf"),
        bits if bits > INFINITE => write(b"nan"),
        bits => {
            let mut digits = zmij::Buffer::new();
            let text = digits.format_finite(float).as_bytes();
            if bits < LARGE {
                return write(text);
            }
            write(collect_bytes(text.iter().filter(|byte| **byte != b'+'), &mut TextBuf::default()))
        }
    }
}

/// Copies bytes into `out`, as many as fit, and returns them.
pub(crate) fn collect_bytes<'a, 'b>(bytes: impl Iterator<Item = &'a u8>, out: &'b mut TextBuf) -> &'b [u8] {
    let mut n_bytes = 0;
    for (dest, byte) in out.iter_mut().zip(bytes) {
        *dest = *byte;
        n_bytes += 1;
    }
    out.get(..n_bytes).unwrap_or_default()
}

#[inline]
fn unsigned(text: &[u8]) -> &[u8] {
    match text {
        [b'+' | b'-', digits @ ..] => digits,
        digits => digits,
    }
}

/// Magnitude of an integer by its digits.
enum Magnitude {
    Small(i64),
    /// Too many digits to be sure that it fits an `i64`.
    Large,
    /// No digits, or other bytes among them.
    None,
}

/// Every integer of 18 digits fits an `i64`.
const MAX_SMALL_DIGITS: usize = 18;

#[inline]
fn magnitude(digits: &[u8]) -> Magnitude {
    if digits.is_empty() {
        return Magnitude::None;
    }
    let mut sum = 0i64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Magnitude::None;
        }
        // Wraps if there are too many digits; the result is not used then.
        sum = sum.wrapping_mul(10).wrapping_add(digit.into());
    }
    if digits.len() > MAX_SMALL_DIGITS { Magnitude::Large } else { Magnitude::Small(sum) }
}

/// Returns the integer if an `i64` holds it.
#[cold]
fn large_int(text: &[u8]) -> Option<i64> {
    core::str::from_utf8(text).ok()?.parse().ok()
}
