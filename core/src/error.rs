//! Why something could not be recorded.
//!
//! Owns the error of the `try_` calls and its words. The plain calls count it instead (see `registry`).

use core::fmt;

use crate::names::name::NameError;

/// Why `try_incr`, `try_set` or `try_record` stored nothing.
///
/// The plain calls count each of these in the stat `statvent.rejected`; the `try_` calls return them and count
/// nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RecordError {
    /// The name breaks a rule.
    Name(NameError),
    /// The value does not fit.
    Value(ValueError),
    /// A new stat, and every slot is taken.
    StatsFull {
        /// The number of slots.
        capacity: usize,
    },
    /// A new series, and every slot is taken.
    SeriesFull {
        /// The number of slots.
        capacity: usize,
    },
    /// A new name that has to be copied, and the arena has no room for it.
    NameBytesFull {
        /// The arena's size.
        capacity: usize,
        /// The length of the name.
        needed: usize,
    },
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(err) => err.fmt(f),
            Self::Value(err) => err.fmt(f),
            Self::StatsFull { capacity } => {
                write!(f, "all {capacity} stats are taken: make the registry larger or use fewer names")
            }
            Self::SeriesFull { capacity } => {
                write!(f, "all {capacity} series are taken: make the registry larger or use fewer names")
            }
            Self::NameBytesFull { capacity, needed } => write!(
                f,
                "no room for a name of {needed} bytes in the {capacity} bytes for names: \
                 make the registry larger or use a literal name"
            ),
        }
    }
}

impl core::error::Error for RecordError {}

impl From<NameError> for RecordError {
    fn from(err: NameError) -> Self {
        Self::Name(err)
    }
}

impl From<ValueError> for RecordError {
    fn from(err: ValueError) -> Self {
        Self::Value(err)
    }
}

/// Why a value cannot be recorded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ValueError {
    /// An unsigned integer that an `i64` cannot hold.
    AboveI64Max {
        /// The value that was given.
        found: u64,
    },
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AboveI64Max { found } => {
                write!(f, "value {found} is above {}: record it as a float", i64::MAX)
            }
        }
    }
}

impl core::error::Error for ValueError {}

/// The caller's buffer cannot hold the JSON.
#[cfg(feature = "json")]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct JsonTooLong {
    /// The bytes that the buffer has.
    pub available: usize,
}

#[cfg(feature = "json")]
impl fmt::Display for JsonTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the stats as JSON do not fit the buffer of {} bytes: give a larger one", self.available)
    }
}

#[cfg(feature = "json")]
impl core::error::Error for JsonTooLong {}
