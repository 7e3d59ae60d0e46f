//! The global registry of a process, and the functions that record in it.
//!
//! Owns its size, which is set at build time. `statvent-core`'s `Registry` does the work.

use statvent_core::name::FormatName;
use statvent_core::{Counter, Gauge, IntoValue, RecordError, Registry, Series, Value};

const STATS: usize = size(option_env!("STATVENT_STATS"), 4096);
const SERIES: usize = size(option_env!("STATVENT_SERIES"), 256);
const NAME_BYTES: usize = size(option_env!("STATVENT_NAME_BYTES"), 256 * 1024);

/// 32 concurrent threads each write to a cache line of their own; further threads share one.
const SHARDS: usize = 32;

/// The type of [`GLOBAL`].
pub type GlobalRegistry = Registry<STATS, SERIES, NAME_BYTES, SHARDS>;

/// The global registry: functions and macros without a registry argument write to it, and
/// [`start_recorder`](crate::start_recorder) publishes it.
///
/// It holds 4096 stats, 256 series and 256 KiB of names. The environment variables `STATVENT_STATS` (a power of two),
/// `STATVENT_SERIES` and `STATVENT_NAME_BYTES` change these numbers when the program is built. Its initial state is all
/// zero bits, so it does not enlarge the program's file. It reserves address space and takes memory only as it is used.
pub static GLOBAL: GlobalRegistry = Registry::new();

/// Adds `value` to a stat; an unknown stat starts at `value`.
///
/// Never panics, allocates nothing, does no I/O. Each call looks the name up, and takes a lock if the name is new (see
/// [`Registry`]); [`incr!`](crate::incr!) looks it up only once per call site. A value that cannot be stored is counted
/// in the stat `statvent.rejected`. Do not call it in a signal handler.
///
/// ```
/// statvent::incr("jobs.done", 1);
/// statvent::incr(format!("jobs.done.{}", "mail"), 2);
/// assert_eq!(statvent::get("jobs.done.mail"), Some(2.into()));
/// ```
#[inline]
pub fn incr(name: impl AsRef<[u8]>, value: impl IntoValue) {
    GLOBAL.incr(name, value);
}

/// Sets a stat to `value`. Same cost and limits as [`incr`].
///
/// ```
/// statvent::set("queue.depth", 17);
/// statvent::set("queue.depth", 4);
/// assert_eq!(statvent::get("queue.depth"), Some(4.into()));
/// ```
#[inline]
pub fn set(name: impl AsRef<[u8]>, value: impl IntoValue) {
    GLOBAL.set(name, value);
}

/// Adds a sample to a series, which keeps the last hundred. Same cost and limits as [`incr`].
///
/// A reader sees five stats: `{0}` in the name is replaced by `median`, `95th`, `99th`, `100th` and `mean`.
///
/// ```
/// statvent::record("rpc.{0}.seconds", 0.012);
/// statvent::record("rpc.{0}.seconds", 0.043);
/// ```
#[inline]
pub fn record(name: impl AsRef<[u8]>, value: impl IntoValue) {
    GLOBAL.record(name, value);
}

/// Adds a sample to a series; `format` makes the names of its stats. See [`Registry::record_with`].
#[inline]
pub fn record_with(name: impl AsRef<[u8]>, value: impl IntoValue, format: FormatName) {
    GLOBAL.record_with(name, value, format);
}

/// Like [`incr`], but returns an error instead of counting a rejected value.
///
/// # Errors
/// See [`Registry::try_incr`].
#[inline]
pub fn try_incr(name: impl AsRef<[u8]>, value: impl IntoValue) -> Result<(), RecordError> {
    GLOBAL.try_incr(name, value)
}

/// Like [`set`], but returns an error instead of counting a rejected value.
///
/// # Errors
/// See [`Registry::try_set`].
#[inline]
pub fn try_set(name: impl AsRef<[u8]>, value: impl IntoValue) -> Result<(), RecordError> {
    GLOBAL.try_set(name, value)
}

/// Like [`record`], but returns an error instead of counting a rejected value.
///
/// # Errors
/// See [`Registry::try_record`].
#[inline]
pub fn try_record(name: impl AsRef<[u8]>, value: impl IntoValue) -> Result<(), RecordError> {
    GLOBAL.try_record(name, value)
}

/// Like [`record_with`], but returns an error instead of counting a rejected value.
///
/// # Errors
/// See [`Registry::try_record_with`].
#[inline]
pub fn try_record_with(
    name: impl AsRef<[u8]>,
    value: impl IntoValue,
    format: FormatName,
) -> Result<(), RecordError> {
    GLOBAL.try_record_with(name, value, format)
}

/// Returns the value of a stat; `None` if nothing was recorded under this name.
#[must_use]
pub fn get(name: impl AsRef<[u8]>) -> Option<Value> {
    GLOBAL.get(name)
}

/// Returns a handle that adds to a stat. It is small and `Copy`, and looks its name up only once. See
/// [`Registry::counter`].
#[must_use]
pub fn counter(name: impl AsRef<[u8]>) -> Counter<'static> {
    GLOBAL.counter(name)
}

/// Returns a handle that sets a stat. It is small and `Copy`, and looks its name up only once. See
/// [`Registry::gauge`].
#[must_use]
pub fn gauge(name: impl AsRef<[u8]>) -> Gauge<'static> {
    GLOBAL.gauge(name)
}

/// Returns a handle that adds samples to a series. It is small and `Copy`, and looks its name up only once. See
/// [`Registry::series`].
#[must_use]
pub fn series(name: impl AsRef<[u8]>) -> Series<'static> {
    GLOBAL.series(name)
}

/// Parses a size that was set at build time; returns the default if none was set.
const fn size(variable: Option<&str>, default: usize) -> usize {
    let Some(digits) = variable else {
        return default;
    };
    match usize::from_str_radix(digits, 10) {
        Ok(size) => size,
        Err(_) => panic!(
            "STATVENT_STATS, STATVENT_SERIES or STATVENT_NAME_BYTES is not a decimal number: correct it or unset it"
        ),
    }
}
