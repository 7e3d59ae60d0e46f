//! The process's own registry and the plain calls on it.
//!
//! Owns its size, which is chosen when building. All work is the registry's.

use statvent_core::name::FormatName;
use statvent_core::{Counter, Gauge, IntoValue, RecordError, Registry, Series, Value};

const STATS: usize = size(option_env!("STATVENT_STATS"), 4096);
const SERIES: usize = size(option_env!("STATVENT_SERIES"), 256);
const NAME_BYTES: usize = size(option_env!("STATVENT_NAME_BYTES"), 256 * 1024);

/// So many threads at a time write without sharing a cache line; later ones share one.
const SHARDS: usize = 32;

/// The type of [`GLOBAL`].
pub type GlobalRegistry = Registry<STATS, SERIES, NAME_BYTES, SHARDS>;

/// The registry that the plain calls and the macros without a registry write to, and the recorder publishes.
///
/// 4096 stats, 256 series and 256 KiB of names unless the environment variables `STATVENT_STATS` (a power of
/// two), `STATVENT_SERIES` and `STATVENT_NAME_BYTES` say otherwise when the program is built. It is all zero bits
/// at first: it adds address space to the program, not size to its file, and takes memory as it is used.
pub static GLOBAL: GlobalRegistry = Registry::new();

/// Adds `value` to a stat; an unknown stat starts at `value`.
///
/// Never panics, allocates nothing, does no I/O. It looks the name up at each call, and takes a lock where the name is
/// new (see [`Registry`]); [`incr!`](crate::incr!) looks it up once per call site. What cannot be stored is counted in the
/// stat `statvent.rejected`. Not for signal handlers.
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

/// Sets a stat to `value`. Costs and limits as [`incr`].
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

/// Adds a sample to a series, which keeps the last hundred. Costs and limits as [`incr`].
///
/// A reader sees five stats, with `median`, `95th`, `99th`, `100th` and `mean` in the place of each `{0}`.
///
/// ```
/// statvent::record("rpc.{0}.seconds", 0.012);
/// statvent::record("rpc.{0}.seconds", 0.043);
/// ```
#[inline]
pub fn record(name: impl AsRef<[u8]>, value: impl IntoValue) {
    GLOBAL.record(name, value);
}

/// Adds a sample to a series whose stats are named by `format`; see [`Registry::record_with`].
#[inline]
pub fn record_with(name: impl AsRef<[u8]>, value: impl IntoValue, format: FormatName) {
    GLOBAL.record_with(name, value, format);
}

/// As [`incr`], but says what is wrong instead of counting it.
///
/// # Errors
/// See [`Registry::try_incr`].
#[inline]
pub fn try_incr(name: impl AsRef<[u8]>, value: impl IntoValue) -> Result<(), RecordError> {
    GLOBAL.try_incr(name, value)
}

/// As [`set`], but says what is wrong instead of counting it.
///
/// # Errors
/// See [`Registry::try_set`].
#[inline]
pub fn try_set(name: impl AsRef<[u8]>, value: impl IntoValue) -> Result<(), RecordError> {
    GLOBAL.try_set(name, value)
}

/// As [`record`], but says what is wrong instead of counting it.
///
/// # Errors
/// See [`Registry::try_record`].
#[inline]
pub fn try_record(name: impl AsRef<[u8]>, value: impl IntoValue) -> Result<(), RecordError> {
    GLOBAL.try_record(name, value)
}

/// As [`record_with`], but says what is wrong instead of counting it.
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

/// Returns a stat's value; `None` if nothing was recorded under this name.
#[must_use]
pub fn get(name: impl AsRef<[u8]>) -> Option<Value> {
    GLOBAL.get(name)
}

/// Returns a handle that counts: small, copyable, found once. See [`Registry::counter`].
#[must_use]
pub fn counter(name: impl AsRef<[u8]>) -> Counter<'static> {
    GLOBAL.counter(name)
}

/// Returns a handle that sets: small, copyable, found once. See [`Registry::gauge`].
#[must_use]
pub fn gauge(name: impl AsRef<[u8]>) -> Gauge<'static> {
    GLOBAL.gauge(name)
}

/// Returns a handle that records samples: small, copyable, found once. See [`Registry::series`].
#[must_use]
pub fn series(name: impl AsRef<[u8]>) -> Series<'static> {
    GLOBAL.series(name)
}

/// The number that was given when building, or the default.
const fn size(given: Option<&str>, default: usize) -> usize {
    let Some(digits) = given else {
        return default;
    };
    match usize::from_str_radix(digits, 10) {
        Ok(size) => size,
        Err(_) => panic!(
            "STATVENT_STATS, STATVENT_SERIES and STATVENT_NAME_BYTES are decimal numbers, or not set at all"
        ),
    }
}
