//! Handles to single stats, and the state of a call site.
//!
//! Owns what makes a stat's second use cheap: its slot, found once. Registration stays `registry`'s.

use crate::arena::NewName;
use crate::cell::Cell;
use crate::name::{check_name, check_template, expand_template};
use crate::registry::Registry;
use crate::series::SampleRing;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::value::{IntoValue, Value};

/// A stat to count with: small, copyable, found once.
///
/// Made by [`Registry::counter`]. A handle whose name was rejected counts every use as rejected.
#[derive(Clone, Copy)]
pub struct Counter<'r>(Target<'r, Cell>);

/// A stat to set: small, copyable, found once.
///
/// Made by [`Registry::gauge`]. A handle whose name was rejected counts every use as rejected.
#[derive(Clone, Copy)]
pub struct Gauge<'r>(Target<'r, Cell>);

/// A series to record samples into: small, copyable, found once.
///
/// Made by [`Registry::series`]. A handle whose name was rejected counts every use as rejected.
#[derive(Clone, Copy)]
pub struct Series<'r>(Target<'r, SampleRing>);

impl Counter<'_> {
    /// Adds `value`. No lock, no allocation; one atomic addition for an integer.
    #[inline]
    pub fn incr(self, value: impl IntoValue) {
        self.0.write(value, Cell::add);
    }
}

impl Gauge<'_> {
    /// Sets the stat to `value`. No lock, no allocation.
    #[inline]
    pub fn set(self, value: impl IntoValue) {
        self.0.write(value, Cell::set);
    }
}

impl Series<'_> {
    /// Adds a sample. No lock, no allocation.
    #[inline]
    pub fn record(self, value: impl IntoValue) {
        self.0.write(value, |ring, value| ring.record(value.as_f64()));
    }
}

struct Target<'r, T> {
    slot: Option<&'r T>,
    rejected: &'r AtomicU64,
}

impl<T> Clone for Target<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Target<'_, T> {}

impl<T> Target<'_, T> {
    #[inline]
    fn write(self, value: impl IntoValue, write: impl FnOnce(&T, Value)) {
        match (self.slot, value.into_value()) {
            (Some(slot), Ok(value)) => write(slot, value),
            _ => {
                self.rejected.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

macro_rules! debug_as_name {
    ($($handle:ident)*) => {$(
        impl core::fmt::Debug for $handle<'_> {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.debug_struct(stringify!($handle)).field("rejected", &self.0.slot.is_none()).finish()
            }
        }
    )*};
}
debug_as_name!(Counter Gauge Series);

impl<const STATS: usize, const SERIES: usize, const NAME_BYTES: usize> Registry<STATS, SERIES, NAME_BYTES> {
    /// Returns a handle that counts. A new stat starts, and is published, at 0.
    ///
    /// ```
    /// use statvent_core::{Registry, Value};
    ///
    /// static STATS: Registry<8, 0, 64> = Registry::new();
    /// let requests = STATS.counter("requests");
    /// requests.incr(2);
    /// requests.incr(3);
    /// assert_eq!(STATS.get("requests"), Some(Value::Int(5)));
    /// ```
    #[must_use]
    pub fn counter(&self, name: impl AsRef<[u8]>) -> Counter<'_> {
        Counter(self.stat_target(name.as_ref()))
    }

    /// Returns a handle that sets. A new stat starts, and is published, at 0.
    #[must_use]
    pub fn gauge(&self, name: impl AsRef<[u8]>) -> Gauge<'_> {
        Gauge(self.stat_target(name.as_ref()))
    }

    /// Returns a handle that records samples. A series is published from its first sample on.
    #[must_use]
    pub fn series(&self, name: impl AsRef<[u8]>) -> Series<'_> {
        let found = self.any_series(NewName::Borrowed(name.as_ref()), expand_template, |_| ());
        Series(Target { slot: found.ok().and_then(|idx| self.ring(idx)), rejected: self.rejected_counter() })
    }

    fn stat_target(&self, name: &[u8]) -> Target<'_, Cell> {
        let found = self.stat(NewName::Borrowed(name), |_| ());
        Target { slot: found.ok().and_then(|idx| self.cell(idx)), rejected: self.rejected_counter() }
    }

    /// Increments by a call site of `incr!`.
    #[doc(hidden)]
    #[inline]
    pub fn incr_at(&self, site: &Site, name: &'static str, value: impl IntoValue) {
        self.stat_at(site, name, value, Cell::add);
    }

    /// Sets by a call site of `set!`.
    #[doc(hidden)]
    #[inline]
    pub fn set_at(&self, site: &Site, name: &'static str, value: impl IntoValue) {
        self.stat_at(site, name, value, Cell::set);
    }

    /// Records by a call site of `record!`.
    #[doc(hidden)]
    #[inline]
    pub fn record_at(&self, site: &Site, name: &'static str, value: impl IntoValue) {
        match (value.into_value(), site.get().and_then(|idx| self.ring(idx))) {
            (Ok(value), Some(ring)) => ring.record(value.as_f64()),
            (Ok(value), None) => self.first_record(site, name, value),
            (Err(err), _) => self.count_rejected(Err(err)),
        }
    }

    #[inline]
    fn stat_at(&self, site: &Site, name: &'static str, value: impl IntoValue, write: fn(&Cell, Value)) {
        match (value.into_value(), site.get().and_then(|idx| self.cell(idx))) {
            (Ok(value), Some(cell)) => write(cell, value),
            (Ok(value), None) => self.first_write(site, name, value, write),
            (Err(err), _) => self.count_rejected(Err(err)),
        }
    }

    #[cold]
    fn first_write(&self, site: &Site, name: &'static str, value: Value, write: fn(&Cell, Value)) {
        let found = self.stat(NewName::Literal(name), |cell| write(cell, value));
        self.count_rejected(found.map(|idx| site.set(idx)));
    }

    #[cold]
    fn first_record(&self, site: &Site, name: &'static str, value: Value) {
        let found = self.sample(NewName::Literal(name), value.as_f64(), expand_template);
        self.count_rejected(found.map(|idx| site.set(idx)));
    }
}

/// What one call site of a macro knows: the number of its stat, once it was found.
///
/// Made by the macros of the crate `statvent`. A site belongs to one name in one registry.
#[doc(hidden)]
#[derive(Debug)]
pub struct Site {
    /// The stat's number plus one; 0 while unknown.
    number: AtomicU32,
}

impl Site {
    /// Returns a site that knows nothing yet.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a site is a static, made by a macro")]
    pub const fn new() -> Self {
        Self { number: AtomicU32::new(0) }
    }

    // Relaxed: the number says where to write, not that anything was written there. The slots themselves are
    // valid from the start.
    #[inline]
    fn get(&self) -> Option<usize> {
        (self.number.load(Ordering::Relaxed) as usize).checked_sub(1)
    }

    fn set(&self, idx: usize) {
        // Fits: no container holds more than 65536.
        self.number.store(idx as u32 + 1, Ordering::Relaxed);
    }
}

/// Refuses a bad literal name when compiling.
#[doc(hidden)]
#[must_use]
pub const fn literal_name(name: &'static str) -> &'static str {
    match check_name(name.as_bytes()) {
        Ok(()) => name,
        Err(err) => panic!("{}", err.message()),
    }
}

/// Refuses a bad literal name of a series when compiling.
#[doc(hidden)]
#[must_use]
pub const fn literal_template(template: &'static str) -> &'static str {
    match check_template(template.as_bytes()) {
        Ok(()) => template,
        Err(err) => panic!("{}", err.message()),
    }
}
