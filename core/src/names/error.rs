//! Errors of names.
//!
//! Owns the broken rule and its message. The rules are in `name`.

use core::fmt;

/// Why a name is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NameError {
    /// No byte at all.
    Empty,
    /// More than [`MAX_NAME_BYTES`]; for a series, with its longest label put in.
    TooLong {
        /// The length in bytes, as far as it was written.
        found: usize,
    },
    /// A newline, which would end the line that the name stands in.
    Newline {
        /// Its byte offset.
        at: usize,
    },
    /// White space at the beginning or the end, which every reader cuts off.
    OuterSpace {
        /// Its byte offset.
        at: usize,
    },
    /// The prefix `statvent.`, which is ours.
    Reserved,
    /// The name of a series without `{0}`, the place of the label.
    NoPlaceholder,
}

impl NameError {
    /// The message as a constant, for errors at compile time.
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
