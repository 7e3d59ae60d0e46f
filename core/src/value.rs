//! Value of a stat, an integer or a float, and the types that convert into it.
//!
//! Owns the two kinds and the conversions. Text belongs to `line`, storage to `backend`.

use crate::error::ValueError;

/// The value of a stat.
///
/// A stat starts as an integer. Its first float makes it a float, and it stays one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A 64-bit signed integer; sums wrap on overflow.
    Int(i64),
    /// A 64-bit float; may be infinite or NaN.
    Float(f64),
}

impl Value {
    /// Returns the value as a float. An integer of more than 53 bits is rounded to the nearest one.
    #[must_use]
    pub const fn as_f64(self) -> f64 {
        match self {
            Self::Int(int) => int as f64,
            Self::Float(float) => float,
        }
    }
}

impl From<i64> for Value {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

impl From<f64> for Value {
    fn from(float: f64) -> Self {
        Self::Float(float)
    }
}

/// Types that can be recorded: all integers of up to 64 bits, `f32`, `f64` and [`Value`].
///
/// The trait is sealed: other types cannot implement it.
///
/// ```
/// use statvent_core::{IntoValue, Value, ValueError};
///
/// assert_eq!(7u8.into_value(), Ok(Value::Int(7)));
/// assert_eq!(0.5f32.into_value(), Ok(Value::Float(0.5)));
/// assert_eq!(u64::MAX.into_value(), Err(ValueError::AboveI64Max { found: u64::MAX }));
/// ```
pub trait IntoValue: sealed::Sealed {
    /// Converts without loss.
    ///
    /// # Errors
    /// [`ValueError::AboveI64Max`] for an unsigned integer that an `i64` cannot hold.
    fn into_value(self) -> Result<Value, ValueError>;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! into_value {
    ($($from:ty)* => $convert:expr) => {$(
        impl sealed::Sealed for $from {}
        impl IntoValue for $from {
            #[inline]
            fn into_value(self) -> Result<Value, ValueError> {
                $convert(self)
            }
        }
    )*};
}
into_value!(i8 i16 i32 i64 u8 u16 u32 => |int| Ok(Value::Int(Into::into(int))));
into_value!(f32 f64 => |float| Ok(Value::Float(Into::into(float))));
into_value!(Value => Ok);
// The casts here and below are lossless: no supported target has pointers wider than 64 bits.
into_value!(isize => |int| Ok(Value::Int(int as i64)));
into_value!(usize => |int| (int as u64).into_value());
into_value!(u64 => |int: u64| match i64::try_from(int) {
    Ok(int) => Ok(Value::Int(int)),
    Err(_) => Err(ValueError::AboveI64Max { found: int }),
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_width_keep_their_extremes() {
        assert_eq!(i8::MIN.into_value(), Ok(Value::Int(-128)));
        assert_eq!(u32::MAX.into_value(), Ok(Value::Int(4_294_967_295)));
        assert_eq!(i64::MIN.into_value(), Ok(Value::Int(i64::MIN)));
        assert_eq!(isize::MIN.into_value(), Ok(Value::Int(isize::MIN as i64)));
        assert_eq!((i64::MAX as u64).into_value(), Ok(Value::Int(i64::MAX)));
    }

    #[test]
    fn the_error_of_an_integer_above_i64_max_says_what_to_do() {
        let err = (i64::MAX as u64 + 1).into_value().unwrap_err();
        assert_eq!(
            std::format!("{err}"),
            "value 9223372036854775808 is above 9223372036854775807: record it as a float"
        );
    }

    #[test]
    fn an_f32_widens_exactly() {
        assert_eq!(0.1f32.into_value(), Ok(Value::Float(0.100_000_001_490_116_12)));
    }
}
