//! Limits of names, lines and registries, each with the reason for its value.
//!
//! Owns these constants. A size that follows from how data is stored is defined beside that data.

/// The longest name, in bytes: its length fits one byte.
pub const MAX_NAME_BYTES: usize = 255;

/// The longest label of a quantile, in bytes: it replaces `{0}` in a name and has to leave room for the rest.
pub(crate) const MAX_LABEL_BYTES: usize = 32;

/// The longest line that is read, in bytes, without its newline: 4 KiB, far more than a registry writes, and a bound on
/// what a hostile line takes.
pub const MAX_LINE_BYTES: usize = 4096;

/// The longest text of a 64-bit integer or float: 24 bytes, as in `-2.2250738585072014e-308`.
pub(crate) const MAX_VALUE_BYTES: usize = 24;

/// The longest line that a registry writes, in bytes, with its newline: a buffer of this size holds every line.
pub const MAX_OWN_LINE_BYTES: usize = MAX_NAME_BYTES + ": ".len() + MAX_VALUE_BYTES + "\n".len();

/// The number of samples that a series keeps: that of the original library.
pub const WINDOW_SAMPLES: usize = 100;

/// The largest number of shards of a registry: one bit each in a 32-bit word.
pub(crate) const MAX_SHARDS: usize = 32;

/// The most spins in one wait for a mutex or for the version of a stat: a holder that takes longer was probably suspended.
#[cfg_attr(
    all(feature = "critical-section", not(any(feature = "std", loom))),
    allow(dead_code, reason = "only threads spin")
)]
pub(crate) const MAX_SPINS: u32 = 64;
