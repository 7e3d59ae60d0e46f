//! Length limits of lines and their parts.
//!
//! Owns these constants, which both the code and the errors of `line` use.

use crate::names::name::MAX_NAME_BYTES;

/// The longest line that is read, in bytes, without its newline: 16 times the longest name that a registry takes.
pub const MAX_LINE_BYTES: usize = 4096;

/// The longest line that a registry writes, in bytes, with its newline: a buffer of this size holds every line.
pub const MAX_OWN_LINE_BYTES: usize = MAX_NAME_BYTES + SEPARATOR.len() + MAX_VALUE_BYTES + b"\n".len();

/// The bytes between the name and the value of a line.
pub(super) const SEPARATOR: &[u8] = b": ";

/// The longest text of a 64-bit integer or float: 24 bytes, as in `-2.2250738585072014e-308`.
pub(super) const MAX_VALUE_BYTES: usize = 24;
