//! The registry: where stats are recorded.
//!
//! Owns the type and its public calls. How a call gets to its stat is `record`'s, reading is `snapshot`'s, handles are
//! `handle`'s, the calls of the macros `call_site`'s.

use crate::backend::{AtomicU64, MAX_SHARDS, SampleStore, StatStore, StoredValue, WriteOp};
use crate::error::RecordError;
use crate::names::append_vec::AppendVec;
use crate::names::arena::{Arena, NewName};
use crate::names::directory::Directory;
use crate::names::name::{FormatName, REJECTED_NAME, expand_template};
use crate::quantiles::{DEFAULT_QUANTILES, Quantile, assert_quantiles};
use crate::snapshot::{MemoryRegion, Reader, Snapshot, load_quantile, rejected_value};
use crate::sync::Ordering;
use crate::value::{IntoValue, Value};

/// A fixed number of stats and series, and room for their names.
///
/// `STATS` is a power of two from 2 to 65536, `SERIES` at most 4096, `NAME_BYTES` at most 16 MiB: one arena for
/// names that are not literals; with 0 bytes only literal names can be new. All sizes are checked when compiling.
/// A new registry is all zero bits, so a `static` one costs address space until it is used. It is usually a
/// `static`, shared by all threads.
///
/// `SHARDS`, from 0 to 32, is for programs with threads (and feature `std`): a thread that has a shard writes to words
/// of its own, which costs no locked instruction and no shared cache line; the reader adds them up. Threads without
/// one share. A thread takes the smallest free number of the process at its second call, hands it on with all that
/// was written when it ends, and has the shard of that number in every registry: 32 is the choice unless it is known
/// how many threads record, into this registry or another. A shard takes 32 bytes a stat and 1040 a series; with 0,
/// the default, nothing is paid for them.
///
/// The calls of this type never panic, allocate nothing and do no I/O. They take a lock, for as long as a
/// registration, when a name is new, or would be new and is refused because the registry is full. The macros of the crate `statvent` and the handles
/// ([`counter`](Self::counter), [`gauge`](Self::gauge), [`series`](Self::series), and for literal names
/// [`counter_literal`](Self::counter_literal) and the like) find the name once. On a hosted system they are not for
/// signal handlers.
///
/// ```
/// use statvent_core::{Registry, Value};
///
/// static STATS: Registry<16, 2, 256> = Registry::new();
///
/// STATS.incr("requests", 1);
/// STATS.incr("requests", 2);
/// STATS.set("temperature", 21.5);
/// STATS.record("latency.{0}", 0.25);
///
/// assert_eq!(STATS.get("requests"), Some(Value::Int(3)));
/// let mut text = [0; 256];
/// let n_bytes = STATS.snapshot().fill(&mut text)?;
/// assert!(text[..n_bytes].starts_with(b"requests: 3\ntemperature: 21.5\nlatency.median: 0.25\n"));
/// # Ok::<(), statvent_core::line::BufferTooSmall>(())
/// ```
///
/// A size that cannot be is refused:
///
/// ```compile_fail
/// static STATS: statvent_core::Registry<100, 2, 0> = statvent_core::Registry::new();
/// ```
pub struct Registry<const STATS: usize, const SERIES: usize, const NAME_BYTES: usize, const SHARDS: usize = 0>
{
    pub(crate) stat_names: Directory<STATS>,
    pub(crate) stats: StatStore<STATS, SHARDS>,
    pub(crate) series_names: Directory<SERIES>,
    /// How the quantiles of each series are named.
    pub(crate) formats: AppendVec<FormatName, SERIES>,
    pub(crate) samples: SampleStore<SERIES, SHARDS>,
    pub(crate) arena: Arena<NAME_BYTES>,
    /// `None` is the default table, so that a new registry is all zero bits.
    quantiles: Option<&'static [Quantile]>,
    pub(crate) rejected: AtomicU64,
}

impl<const STATS: usize, const SERIES: usize, const NAME_BYTES: usize, const SHARDS: usize>
    Registry<STATS, SERIES, NAME_BYTES, SHARDS>
{
    /// Returns an empty registry whose series show `median`, `95th`, `99th`, `100th` and `mean`.
    #[must_use]
    pub const fn new() -> Self {
        const {
            assert!(
                STATS.is_power_of_two() && STATS >= 2 && STATS <= 65536,
                "STATS must be a power of two from 2 to 65536"
            );
            assert!(SERIES <= 4096, "SERIES must be at most 4096");
            assert!(SHARDS <= MAX_SHARDS, "SHARDS must be at most 32");
        };
        Self {
            stat_names: Directory::new(),
            stats: StatStore::new(),
            series_names: Directory::new(),
            formats: AppendVec::new(),
            samples: SampleStore::new(),
            arena: Arena::new(),
            quantiles: None,
            rejected: AtomicU64::new(0),
        }
    }

    /// Returns an empty registry whose series show these quantiles, in this order, and then `mean`.
    ///
    /// A quantile is a percentage from 0 to 100 and a label of 1 to 32 bytes.
    ///
    /// # Panics
    /// At a quantile that is none; for a `static` registry that is an error when compiling.
    ///
    /// ```
    /// use statvent_core::{Registry, Value};
    ///
    /// static STATS: Registry<2, 1, 0> = Registry::with_quantiles(&[(99.9, "99.9th")]);
    ///
    /// STATS.try_record_literal("io.{0}", 8)?;
    /// let mut names = Vec::new();
    /// STATS.for_each(|name, value| names.push((name.to_vec(), value)));
    /// assert_eq!(names, [(b"io.99.9th".to_vec(), Value::Float(8.0)), (b"io.mean".to_vec(), Value::Float(8.0))]);
    /// # Ok::<(), statvent_core::RecordError>(())
    /// ```
    #[must_use]
    pub const fn with_quantiles(quantiles: &'static [Quantile]) -> Self {
        assert_quantiles(quantiles);
        let mut registry = Self::new();
        registry.quantiles = Some(quantiles);
        registry
    }

    /// Adds `value` to the stat; an unknown stat starts at `value`. An integer's sum wraps on overflow.
    ///
    /// What cannot be stored is counted as rejected; see [`try_incr`](Self::try_incr).
    #[inline]
    pub fn incr(&self, name: impl AsRef<[u8]>, value: impl IntoValue) {
        self.count_rejected(self.try_incr(name, value));
    }

    /// Sets the stat to `value`.
    ///
    /// What cannot be stored is counted as rejected; see [`try_set`](Self::try_set).
    #[inline]
    pub fn set(&self, name: impl AsRef<[u8]>, value: impl IntoValue) {
        self.count_rejected(self.try_set(name, value));
    }

    /// Adds a sample to the series; it keeps the last [`WINDOW_SAMPLES`](crate::WINDOW_SAMPLES).
    ///
    /// Every `{0}` of the name becomes the label of a quantile when the series is read. What cannot be stored is
    /// counted as rejected; see [`try_record`](Self::try_record).
    #[inline]
    pub fn record(&self, name: impl AsRef<[u8]>, value: impl IntoValue) {
        self.count_rejected(self.try_record(name, value));
    }

    /// Adds a sample to the series, whose quantiles are named by `format`. The first `format` of a name stays.
    ///
    /// What cannot be stored is counted as rejected; see [`try_record_with`](Self::try_record_with).
    ///
    /// ```
    /// use statvent_core::{name::NameBuf, Registry};
    ///
    /// fn suffix(name: &[u8], label: &str, out: &mut NameBuf) {
    ///     out.push(name);
    ///     out.push(b"/");
    ///     out.push(label.as_bytes());
    /// }
    ///
    /// static STATS: Registry<2, 1, 16> = Registry::new();
    /// STATS.record_with("rpc", 3, suffix);
    /// let mut first = None;
    /// STATS.for_each(|name, _| _ = first.get_or_insert(name.to_vec()));
    /// assert_eq!(first.as_deref(), Some(&b"rpc/median"[..]));
    /// ```
    #[inline]
    pub fn record_with(&self, name: impl AsRef<[u8]>, value: impl IntoValue, format: FormatName) {
        self.count_rejected(self.try_record_with(name, value, format));
    }

    /// Adds `value` to the stat, or says why not.
    ///
    /// # Errors
    /// The name breaks a rule, the value does not fit, or the registry is full. Nothing was stored or counted.
    ///
    /// ```
    /// use statvent_core::{name::NameError, RecordError, Registry};
    ///
    /// static STATS: Registry<2, 0, 16> = Registry::new();
    /// assert_eq!(STATS.try_incr("a", 1), Ok(()));
    /// assert_eq!(STATS.try_incr("", 1), Err(RecordError::Name(NameError::Empty)));
    /// assert_eq!(STATS.try_incr("b", 1), Ok(()));
    /// assert_eq!(STATS.try_incr("c", 1), Err(RecordError::StatsFull { capacity: 2 }));
    /// ```
    #[inline]
    pub fn try_incr(&self, name: impl AsRef<[u8]>, value: impl IntoValue) -> Result<(), RecordError> {
        self.write_by_name(name.as_ref(), WriteOp::Add, StoredValue::from_value(value.into_value()?))
    }

    /// Sets the stat to `value`, or says why not.
    ///
    /// # Errors
    /// As [`try_incr`](Self::try_incr).
    #[inline]
    pub fn try_set(&self, name: impl AsRef<[u8]>, value: impl IntoValue) -> Result<(), RecordError> {
        self.write_by_name(name.as_ref(), WriteOp::Set, StoredValue::from_value(value.into_value()?))
    }

    /// Adds a sample to the series, or says why not.
    ///
    /// # Errors
    /// As [`try_incr`](Self::try_incr); also if the name has no `{0}`, or breaks a rule with a label in it.
    #[inline]
    pub fn try_record(&self, name: impl AsRef<[u8]>, value: impl IntoValue) -> Result<(), RecordError> {
        let sample = value.into_value()?.as_f64();
        self.record_by_name(name.as_ref(), sample, expand_template)
    }

    /// Adds a sample to the series, whose quantiles are named by `format`, or says why not.
    ///
    /// # Errors
    /// As [`try_incr`](Self::try_incr); also if a name that `format` writes breaks a rule.
    #[inline]
    pub fn try_record_with(
        &self,
        name: impl AsRef<[u8]>,
        value: impl IntoValue,
        format: FormatName,
    ) -> Result<(), RecordError> {
        let sample = value.into_value()?.as_f64();
        self.record_by_name(name.as_ref(), sample, format)
    }

    /// As [`try_incr`](Self::try_incr), and keeps a new name by reference instead of copying it.
    ///
    /// # Errors
    /// As [`try_incr`](Self::try_incr).
    pub fn try_incr_literal(&self, name: &'static str, value: impl IntoValue) -> Result<(), RecordError> {
        self.insert_or_write(
            NewName::Literal(name),
            WriteOp::Add,
            StoredValue::from_value(value.into_value()?),
        )
        .map(drop)
    }

    /// As [`try_set`](Self::try_set), and keeps a new name by reference instead of copying it.
    ///
    /// # Errors
    /// As [`try_set`](Self::try_set).
    pub fn try_set_literal(&self, name: &'static str, value: impl IntoValue) -> Result<(), RecordError> {
        self.insert_or_write(
            NewName::Literal(name),
            WriteOp::Set,
            StoredValue::from_value(value.into_value()?),
        )
        .map(drop)
    }

    /// As [`try_record`](Self::try_record), and keeps a new name by reference instead of copying it.
    ///
    /// # Errors
    /// As [`try_record`](Self::try_record).
    pub fn try_record_literal(&self, name: &'static str, value: impl IntoValue) -> Result<(), RecordError> {
        self.insert_or_record(NewName::Literal(name), value.into_value()?.as_f64(), expand_template).map(drop)
    }

    /// Returns the stat's value; `None` if nothing was recorded under this name. Series have no value of their own.
    ///
    /// After a `set` it is exactly what was set, unless another thread wrote the stat meanwhile.
    #[must_use]
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<Value> {
        let name = name.as_ref();
        let Ok(idx) = self.stat_names.find(name, &self.arena) else {
            // It is no entry of the directory.
            return rejected_value(&self.rejected).filter(|_| name == REJECTED_NAME);
        };
        Some(self.stats.view().get(idx)?.value())
    }

    /// Returns how many calls were rejected, as the stat `statvent.rejected` shows it.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Calls `f` with the name and value of every stat, in the order of a [`Snapshot`].
    pub fn for_each(&self, f: impl FnMut(&[u8], Value)) {
        self.reader().for_each(f);
    }

    /// Begins to write all stats as text; see [`Snapshot`].
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<'_> {
        self.reader().snapshot()
    }

    /// Returns the reading side of this registry, whose type does not depend on the registry's size.
    #[must_use]
    pub fn reader(&self) -> Reader<'_> {
        Reader {
            stat_names: self.stat_names.view(),
            stats: self.stats.view(),
            series_names: self.series_names.view(),
            formats: self.formats.view(),
            samples: self.samples.view(),
            arena: self.arena.view(),
            quantiles: self.quantiles(),
            load_quantile: if SERIES == 0 { None } else { Some(load_quantile) },
            rejected: &self.rejected,
            #[cfg(feature = "std")]
            mutexes: [
                &self.stat_names.names.mutex,
                &self.series_names.names.mutex,
                &self.arena.0.mutex,
                &self.samples.drain_mutex,
            ],
            memory: MemoryRegion { address: (&raw const *self).addr(), n_bytes: size_of::<Self>() },
        }
    }

    pub(crate) fn quantiles(&self) -> &'static [Quantile] {
        self.quantiles.unwrap_or(DEFAULT_QUANTILES)
    }
}

impl<'r, const STATS: usize, const SERIES: usize, const NAME_BYTES: usize, const SHARDS: usize>
    From<&'r Registry<STATS, SERIES, NAME_BYTES, SHARDS>> for Reader<'r>
{
    fn from(registry: &'r Registry<STATS, SERIES, NAME_BYTES, SHARDS>) -> Self {
        registry.reader()
    }
}

impl<const STATS: usize, const SERIES: usize, const NAME_BYTES: usize, const SHARDS: usize> Default
    for Registry<STATS, SERIES, NAME_BYTES, SHARDS>
{
    fn default() -> Self {
        Self::new()
    }
}

impl<const STATS: usize, const SERIES: usize, const NAME_BYTES: usize, const SHARDS: usize> core::fmt::Debug
    for Registry<STATS, SERIES, NAME_BYTES, SHARDS>
{
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Registry")
            .field("n_stats", &self.stat_names.view().len())
            .field("n_series", &self.series_names.view().len())
            .field("rejected", &self.rejected())
            .finish_non_exhaustive()
    }
}
