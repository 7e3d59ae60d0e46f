//! Handles to single stats and series.
//!
//! Owns the handles, which skip the search for the name. `record` owns registration.

use crate::backend::{AtomicU64, SamplesView, StatRef, StoredValue, WriteOp};
use crate::names::arena::NewName;
use crate::names::name::expand_template;
use crate::registry::Registry;
use crate::sync::Ordering;
use crate::value::{IntoValue, Value};

/// Handle that increments one stat: small, copyable, without a search for the name.
///
/// Created by [`Registry::counter`] and [`Registry::counter_literal`]. If the name was rejected, every use of the
/// handle is counted as rejected.
#[derive(Clone, Copy, Debug)]
pub struct Counter<'r>(Target<'r, StatRef<'r>>);

/// Handle that sets one stat: small, copyable, without a search for the name.
///
/// Created by [`Registry::gauge`] and [`Registry::gauge_literal`]. If the name was rejected, every use of the
/// handle is counted as rejected.
#[derive(Clone, Copy, Debug)]
pub struct Gauge<'r>(Target<'r, StatRef<'r>>);

/// Handle that records samples of one series: small, copyable, without a search for the name.
///
/// Created by [`Registry::series`] and [`Registry::series_literal`]. If the name was rejected, every use of the
/// handle is counted as rejected.
#[derive(Clone, Copy, Debug)]
pub struct Series<'r>(Target<'r, (SamplesView<'r>, usize)>);

impl Counter<'_> {
    /// Adds `value`. Takes no lock and allocates nothing. If the thread has a shard, an integer is a plain addition
    /// to the thread's own word.
    #[inline]
    pub fn incr(&self, value: impl IntoValue) {
        self.0.write(value, |stat, value| stat.add_marked(StoredValue::from_value(value)));
    }
}

impl Gauge<'_> {
    /// Sets the stat to `value`. Takes no lock and allocates nothing.
    #[inline]
    pub fn set(&self, value: impl IntoValue) {
        self.0.write(value, |stat, value| stat.write(WriteOp::Set, StoredValue::from_value(value)));
    }
}

impl Series<'_> {
    /// Adds a sample. Takes no lock and allocates nothing.
    #[inline]
    pub fn record(&self, value: impl IntoValue) {
        self.0.write(value, |(samples, idx), value| samples.record(*idx, value.as_f64()));
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

impl<T> core::fmt::Debug for Target<'_, T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Target").field("rejected", &self.slot.is_none()).finish()
    }
}

impl<const STATS: usize, const SERIES: usize, const NAME_BYTES: usize, const SHARDS: usize>
    Registry<STATS, SERIES, NAME_BYTES, SHARDS>
{
    /// Returns a handle that increments. A new stat is published at once, with the value 0.
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

    /// As [`counter`](Self::counter), but stores a new name by reference instead of copying it.
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
    /// // This registry has no arena, so a name that is not a literal is rejected.
    /// STATS.counter("replies").incr(5);
    /// assert_eq!((STATS.get("replies"), STATS.rejected()), (None, 1));
    /// ```
    #[must_use]
    pub fn counter_literal(&self, name: &'static str) -> Counter<'_> {
        self.new_counter(NewName::Literal(name))
    }

    /// Returns a handle that sets. A new stat is published at once, with the value 0.
    #[must_use]
    pub fn gauge(&self, name: impl AsRef<[u8]>) -> Gauge<'_> {
        Gauge(self.stat_target(NewName::Borrowed(name.as_ref())))
    }

    /// As [`gauge`](Self::gauge), but stores a new name by reference, as [`counter_literal`](Self::counter_literal)
    /// does.
    #[must_use]
    pub fn gauge_literal(&self, name: &'static str) -> Gauge<'_> {
        Gauge(self.stat_target(NewName::Literal(name)))
    }

    /// Returns a handle that records samples. The series is published with its first sample.
    #[must_use]
    pub fn series(&self, name: impl AsRef<[u8]>) -> Series<'_> {
        self.new_series(NewName::Borrowed(name.as_ref()))
    }

    /// As [`series`](Self::series), but stores a new name by reference, as
    /// [`counter_literal`](Self::counter_literal) does.
    #[must_use]
    pub fn series_literal(&self, name: &'static str) -> Series<'_> {
        self.new_series(NewName::Literal(name))
    }

    fn new_counter(&self, name: NewName<'_>) -> Counter<'_> {
        let target = self.stat_target(name);
        if let Some(stat) = target.slot {
            stat.mark_incremented();
        }
        Counter(target)
    }

    fn new_series(&self, name: NewName<'_>) -> Series<'_> {
        let found = self.find_or_insert_series(name, expand_template, None);
        let slot = found.ok().map(|found| (self.samples.view(), found.idx()));
        Series(Target { slot, rejected: &self.rejected })
    }

    fn stat_target(&self, name: NewName<'_>) -> Target<'_, StatRef<'_>> {
        let found = self.find_or_insert_stat(name, WriteOp::Set, StoredValue::from_value(Value::Int(0)));
        let slot = found.ok().and_then(|found| self.stats.stat(found.idx()));
        Target { slot, rejected: &self.rejected }
    }
}
