//! Errors of names.
//!
//! Owns the messages of broken rules. `name` owns the rules.

use core::fmt;

/// Reason why a name is rejected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NameError {
    /// The name is empty.
    Empty,
    /// The name is longer than [`MAX_NAME_BYTES`](super::name::MAX_NAME_BYTES). For a series this includes the
    /// longest label.
    TooLong {
        /// The length in bytes, as far as it was written.
        found: usize,
    },
    /// The name contains a newline, which would end its line.
    Newline {
        /// Its byte offset.
        at: usize,
    },
    /// The name begins or ends with white space, which every reader trims.
    OuterSpace {
        /// Its byte offset.
        at: usize,
    },
    /// The name begins with `statvent.`, the prefix of the library's own stats.
    Reserved,
    /// The name of a series has no `{0}` to replace with the label.
    NoPlaceholder,
}

impl NameError {
    /// Returns the constant part of the message, usable at compile time.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Empty => "a stat's name is empty: give it 1 to 255 bytes",
            Self::TooLong { .. } => "a stat's name is longer than 255 bytes: shorten it",
            Self::Newline { .. } => "a stat's name contains a newline: a line holds one stat",
            Self::OuterSpace { .. } => {
                "a stat's name begins or ends with white space, which readers cut off: trim it"
            }
            Self::Reserved => "names that begin with \"statvent.\" are reserved: choose another prefix",
            Self::NoPlaceholder => "a series' name has no \"{0}\" for the label: add it, as in \"rpc.{0}\"",
        }
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())?;
        match self {
            Self::TooLong { found } => write!(f, " (found {found} bytes)"),
            Self::Newline { at } | Self::OuterSpace { at } => write!(f, " (at byte {at})"),
            _ => Ok(()),
        }
    }
}

impl core::error::Error for NameError {}
