//! Handles to single stats, and the state of a call site.
//!
//! Owns what makes a stat's second use cheap: its slot, found once. Registration stays `registry`'s.

use crate::arena::NewName;
use crate::cell::{Stat, Stored};
use crate::name::{check_name, check_template, expand_template};
use crate::own_ring::OwnRingsView;
use crate::registry::Registry;
use crate::ring::SampleRing;
use crate::slot::record_slowly;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::value::{IntoValue, Value};

/// A stat to count with: small, copyable, found once.
///
/// Made by [`Registry::counter`] and [`Registry::counter_literal`]. A handle whose name was rejected counts every use as rejected.
#[derive(Clone, Copy)]
pub struct Counter<'r>(Target<'r, Stat<'r>>);

/// A stat to set: small, copyable, found once.
///
/// Made by [`Registry::gauge`] and [`Registry::gauge_literal`]. A handle whose name was rejected counts every use as rejected.
#[derive(Clone, Copy)]
pub struct Gauge<'r>(Target<'r, Stat<'r>>);

/// A series to record samples into: small, copyable, found once.
///
/// Made by [`Registry::series`] and [`Registry::series_literal`]. A handle whose name was rejected counts every use as rejected.
#[derive(Clone, Copy)]
pub struct Series<'r>(Target<'r, Samples<'r>>);

impl Counter<'_> {
    /// Adds `value`. No lock, no allocation; for an integer a plain addition to a word of this thread's, where it has a
    /// shard.
    #[inline]
    pub fn incr(&self, value: impl IntoValue) {
        self.0.write(value, |stat, value| stat.add_to_summed(Stored::of(value)));
    }
}

impl Gauge<'_> {
    /// Sets the stat to `value`. No lock, no allocation.
    #[inline]
    pub fn set(&self, value: impl IntoValue) {
        self.0.write(value, |stat, value| stat.set(Stored::of(value)));
    }
}

impl Series<'_> {
    /// Adds a sample. No lock, no allocation.
    #[inline]
    pub fn record(&self, value: impl IntoValue) {
        self.0.write(value, |samples, value| samples.record(value.as_f64()));
    }
}

/// A series' window and rings.
#[derive(Clone, Copy)]
struct Samples<'r> {
    window: &'r SampleRing,
    own_rings: OwnRingsView<'r>,
    idx: usize,
}

impl Samples<'_> {
    #[inline]
    fn record(&self, sample: f64) {
        match self.own_rings.own(self.idx) {
            Some(ring) => ring.record(sample),
            None => record_slowly(self.window, sample, !self.own_rings.is_empty()),
        }
    }
}

#[derive(Clone, Copy)]
struct Target<'r, T> {
    slot: Option<T>,
    rejected: &'r AtomicU64,
}

impl<T> Target<'_, T> {
    #[inline]
    fn write(&self, value: impl IntoValue, write: impl FnOnce(&T, Value)) {
        match (&self.slot, value.into_value()) {
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

impl<const STATS: usize, const SERIES: usize, const NAME_BYTES: usize, const SHARDS: usize>
    Registry<STATS, SERIES, NAME_BYTES, SHARDS>
{
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
        self.new_counter(NewName::Borrowed(name.as_ref()))
    }

    /// As [`counter`](Self::counter), and keeps a new name by reference instead of copying it.
    ///
    /// ```
    /// use statvent_core::{Registry, Value};
    ///
    /// static STATS: Registry<4, 1, 0> = Registry::new();
    /// STATS.counter_literal("requests").incr(5);
    /// STATS.gauge_literal("queue.depth").set(3);
    /// STATS.series_literal("latency.{0}").record(0.25);
    /// assert_eq!(STATS.get("requests"), Some(Value::Int(5)));
    /// assert_eq!(STATS.rejected(), 0);
    /// // Without room for copies of names there is no other way.
    /// STATS.counter("replies").incr(5);
    /// assert_eq!((STATS.get("replies"), STATS.rejected()), (None, 1));
    /// ```
    #[must_use]
    pub fn counter_literal(&self, name: &'static str) -> Counter<'_> {
        self.new_counter(NewName::Literal(name))
    }

    /// Returns a handle that sets. A new stat starts, and is published, at 0.
    #[must_use]
    pub fn gauge(&self, name: impl AsRef<[u8]>) -> Gauge<'_> {
        Gauge(self.stat_target(NewName::Borrowed(name.as_ref())))
    }

    /// As [`gauge`](Self::gauge), and keeps a new name by reference, as [`counter_literal`](Self::counter_literal) does.
    #[must_use]
    pub fn gauge_literal(&self, name: &'static str) -> Gauge<'_> {
        Gauge(self.stat_target(NewName::Literal(name)))
    }

    /// Returns a handle that records samples. A series is published from its first sample on.
    #[must_use]
    pub fn series(&self, name: impl AsRef<[u8]>) -> Series<'_> {
        self.new_series(NewName::Borrowed(name.as_ref()))
    }

    /// As [`series`](Self::series), and keeps a new name by reference, as [`counter_literal`](Self::counter_literal) does.
    #[must_use]
    pub fn series_literal(&self, name: &'static str) -> Series<'_> {
        self.new_series(NewName::Literal(name))
    }

    fn new_counter(&self, name: NewName<'_>) -> Counter<'_> {
        let target = self.stat_target(name);
        if let Some(stat) = target.slot {
            stat.begin_summing();
        }
        Counter(target)
    }

    fn new_series(&self, name: NewName<'_>) -> Series<'_> {
        let found = self.any_series(name, expand_template, |_| ());
        let slot = found.ok().and_then(|found| {
            let idx = found.idx();
            Some(Samples { window: self.rings.get(idx)?, own_rings: self.own_rings.view(), idx })
        });
        Series(Target { slot, rejected: &self.rejected })
    }

    fn stat_target(&self, name: NewName<'_>) -> Target<'_, Stat<'_>> {
        let found = self.stat(name, |_| ());
        let slot = found.ok().and_then(|found| self.stat_at(found.idx()));
        Target { slot, rejected: &self.rejected }
    }

    /// Increments by a call site of `incr!`.
    #[doc(hidden)]
    #[inline]
    pub fn incr_at(&self, site: &Site, name: &'static str, value: impl IntoValue) {
        match value.into_value() {
            Ok(value) if self.shards.add_own(site.idx(), value) => {}
            Ok(Value::Int(int)) => self.incr_int_slowly_at(site, name, int),
            Ok(Value::Float(float)) => self.incr_float_slowly_at(site, name, float),
            Err(err) => self.count_rejected(Err(err)),
        }
    }

    /// Sets by a call site of `set!`.
    #[doc(hidden)]
    #[inline]
    pub fn set_at(&self, site: &Site, name: &'static str, value: impl IntoValue) {
        let stat = self.stat_at(site.idx());
        match value.into_value() {
            Ok(value) if stat.is_some_and(|stat| stat.set_quickly(Stored::of(value))) => {}
            Ok(Value::Int(int)) => self.set_int_slowly_at(site, name, int),
            Ok(Value::Float(float)) => self.set_float_slowly_at(site, name, float),
            Err(err) => self.count_rejected(Err(err)),
        }
    }

    /// Records by a call site of `record!`.
    #[doc(hidden)]
    #[inline]
    pub fn record_at(&self, site: &Site, name: &'static str, value: impl IntoValue) {
        match value.into_value() {
            Ok(value) => match self.own_rings.own(site.idx()) {
                Some(ring) => ring.record(value.as_f64()),
                None => self.record_slowly_at(site, name, value.as_f64()),
            },
            Err(err) => self.count_rejected(Err(err)),
        }
    }

    /// Takes its value in registers, which keeps the call sites small and quick.
    #[cold]
    #[inline(never)]
    fn incr_int_slowly_at(&self, site: &Site, name: &'static str, int: i64) {
        self.incr_slowly_at(site, name, Stored::of(Value::Int(int)));
    }

    #[cold]
    #[inline(never)]
    fn incr_float_slowly_at(&self, site: &Site, name: &'static str, float: f64) {
        self.incr_slowly_at(site, name, Stored::of(Value::Float(float)));
    }

    fn incr_slowly_at(&self, site: &Site, name: &'static str, value: Stored) {
        let idx = site.idx();
        if idx < STATS {
            return self.add_idx(idx, value);
        }
        self.count_rejected(self.add_first(NewName::Literal(name), value).map(|idx| site.set(idx)));
    }

    #[cold]
    #[inline(never)]
    fn set_int_slowly_at(&self, site: &Site, name: &'static str, int: i64) {
        self.set_slowly_at(site, name, Stored::of(Value::Int(int)));
    }

    #[cold]
    #[inline(never)]
    fn set_float_slowly_at(&self, site: &Site, name: &'static str, float: f64) {
        self.set_slowly_at(site, name, Stored::of(Value::Float(float)));
    }

    fn set_slowly_at(&self, site: &Site, name: &'static str, value: Stored) {
        if let Some(stat) = self.stat_at(site.idx()) {
            return stat.set(value);
        }
        self.count_rejected(self.assign_first(NewName::Literal(name), value).map(|idx| site.set(idx)));
    }

    #[cold]
    #[inline(never)]
    fn record_slowly_at(&self, site: &Site, name: &'static str, sample: f64) {
        let idx = site.idx();
        if idx < SERIES {
            return self.record_idx(idx, sample);
        }
        let found = self.sample(NewName::Literal(name), sample, expand_template);
        self.count_rejected(found.map(|idx| site.set(idx)));
    }
}

/// What one call site of a macro knows: the number of its stat, once it was found.
///
/// Made by the macros of the crate `statvent`. A site belongs to one name in one registry.
#[doc(hidden)]
#[derive(Debug)]
pub struct Site {
    /// The stat's number; while it is unknown, one that no stat has.
    number: AtomicU32,
}

/// More than any number of a stat in any shard, and far from wrapping around where pointers have 32 bits.
const UNKNOWN: u32 = 1 << 30;

impl Site {
    /// Returns a site that knows nothing yet.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a site is a static, made by a macro")]
    pub const fn new() -> Self {
        Self { number: AtomicU32::new(UNKNOWN) }
    }

    // Acquire pairs with the Release in `set`: whoever increments by this site knows that the stat is one that is
    // incremented, and so does everybody who knows of that increment.
    #[inline]
    fn idx(&self) -> usize {
        self.number.load(Ordering::Acquire) as usize
    }

    fn set(&self, idx: usize) {
        // Fits: no container holds more than 65536.
        self.number.store(idx as u32, Ordering::Release);
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
