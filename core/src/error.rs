//! Errors of recording, of values and of the JSON buffer.
//!
//! Owns these errors and their messages. Errors of names are in `names`, errors of lines in `line`.

use core::fmt;

use crate::names::name::NameError;

/// Reason why `try_incr`, `try_set` or `try_record` stored nothing.
///
/// The plain calls count every such failure in the stat `statvent.rejected`. The `try_` calls return it and do not
/// count it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RecordError {
    /// The name breaks a rule.
    Name(NameError),
    /// The value cannot be stored.
    Value(ValueError),
    /// The stat is new, and all slots are in use.
    StatsFull {
        /// The number of slots.
        capacity: usize,
    },
    /// The series is new, and all slots are in use.
    SeriesFull {
        /// The number of slots.
        capacity: usize,
    },
    /// The name is new and not a literal, and the arena has no room for a copy.
    NameBytesFull {
        /// The size of the arena, in bytes.
        capacity: usize,
        /// The length of the name, in bytes.
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

/// Reason why a value cannot be recorded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ValueError {
    /// An unsigned integer that an `i64` cannot hold.
    AboveI64Max {
        /// The rejected value.
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

/// The JSON text is longer than the caller's buffer.
#[cfg(feature = "json")]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct JsonTooLong {
    /// The size of the buffer, in bytes.
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
