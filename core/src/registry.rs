//! Registry of stats and series, of a size fixed at compile time.
//!
//! Owns the type and its public calls. `record` finds and registers names, `snapshot` reads, `handle` makes
//! handles, and `call_site` serves the macros.

use crate::backend::{AtomicU64, SampleStore, StatStore, StoredValue, WriteOp};
use crate::error::RecordError;
use crate::limits::MAX_SHARDS;
use crate::names::append_vec::AppendVec;
use crate::names::arena::{Arena, NewName};
use crate::names::directory::Directory;
use crate::names::name::{FormatName, REJECTED_NAME, expand_template};
use crate::quantiles::{DEFAULT_QUANTILES, Quantile, assert_quantiles};
use crate::snapshot::{MemoryRegion, Reader, Snapshot, load_quantile, rejected_value};
use crate::sync::Ordering;
use crate::value::{IntoValue, Value};

/// A fixed number of stats and series, with storage for their names.
///
/// `STATS` is a power of two from 2 to 65536, `SERIES` is at most 4096, and `NAME_BYTES` is at most 16 MiB: the
/// size of the arena for names that are not literals. With 0 bytes every new name must be a literal. All sizes are
/// checked at compile time. A new registry is all zero bits, so a `static` one takes no memory, only address space,
/// until it is used. A registry is usually a `static` that all threads share.
///
/// `SHARDS`, from 0 to 32, is for programs with threads (and feature `std`). A thread with a shard writes to its
/// own words: no locked instruction, no shared cache line. The reader adds up all shards. Threads without a shard
/// share one set of words. At its second call a thread takes the smallest free shard id of the process, and has the
/// shard of this id in every registry. When it ends, the next thread takes over the shard with all its counts. Choose 32
/// unless you know how many threads record, into this registry or any other. A shard takes 32 bytes per stat and
/// 1040 per series. The default, 0, costs nothing.
///
/// The calls of this type never panic, allocate nothing and do no I/O. They lock only for a new name, for as long
/// as its registration takes, or to find that the registry is full. The macros of the crate `statvent` and the
/// handles ([`counter`](Self::counter), [`gauge`](Self::gauge), [`series`](Self::series), and for literal names
/// [`counter_literal`](Self::counter_literal) and so on) look the name up only once. On a hosted system the calls
/// are not safe in signal handlers.
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
/// An invalid size is a compile error:
///
/// ```compile_fail
/// static STATS: statvent_core::Registry<100, 2, 0> = statvent_core::Registry::new();
/// ```
pub struct Registry<const STATS: usize, const SERIES: usize, const NAME_BYTES: usize, const SHARDS: usize = 0>
{
    pub(crate) stat_names: Directory<STATS>,
    pub(crate) stats: StatStore<STATS, SHARDS>,
    pub(crate) series_names: Directory<SERIES>,
    /// The function that names the quantiles of each series.
    pub(crate) formats: AppendVec<FormatName, SERIES>,
    pub(crate) samples: SampleStore<SERIES, SHARDS>,
    pub(crate) arena: Arena<NAME_BYTES>,
    /// `None` means the default table, so that a new registry is all zero bits.
    quantiles: Option<&'static [Quantile]>,
    pub(crate) rejected: AtomicU64,
}

impl<const STATS: usize, const SERIES: usize, const NAME_BYTES: usize, const SHARDS: usize>
    Registry<STATS, SERIES, NAME_BYTES, SHARDS>
{
    /// Returns an empty registry whose series publish `median`, `95th`, `99th`, `100th` and `mean`.
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

    /// Returns an empty registry whose series publish these quantiles, in this order, and then `mean`.
    ///
    /// A quantile is a percentage from 0 to 100 and a label of 1 to 32 bytes.
    ///
    /// # Panics
    /// If a percentage or label is invalid. For a `static` registry this is a compile error.
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

    /// Adds `value` to the stat. A new stat starts at `value`. Integer sums wrap on overflow.
    ///
    /// A rejected call is counted; see [`try_incr`](Self::try_incr).
    #[inline]
    pub fn incr(&self, name: impl AsRef<[u8]>, value: impl IntoValue) {
        self.count_rejected(self.try_incr(name, value));
    }

    /// Sets the stat to `value`.
    ///
    /// A rejected call is counted; see [`try_set`](Self::try_set).
    #[inline]
    pub fn set(&self, name: impl AsRef<[u8]>, value: impl IntoValue) {
        self.count_rejected(self.try_set(name, value));
    }

    /// Adds a sample to the series, which keeps the last [`WINDOW_SAMPLES`](crate::WINDOW_SAMPLES).
    ///
    /// Every `{0}` in the name is replaced with the label of a quantile when the series is read. A rejected call is
    /// counted; see [`try_record`](Self::try_record).
    #[inline]
    pub fn record(&self, name: impl AsRef<[u8]>, value: impl IntoValue) {
        self.count_rejected(self.try_record(name, value));
    }

    /// Adds a sample to the series, whose quantiles are named by `format`. A series keeps the `format` of its first
    /// sample.
    ///
    /// A rejected call is counted; see [`try_record_with`](Self::try_record_with).
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

    /// Adds `value` to the stat, or returns why it was rejected.
    ///
    /// # Errors
    /// If the name breaks a rule, the value cannot be stored, or the registry is full. Then nothing is stored or
    /// counted.
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

    /// Sets the stat to `value`, or returns why it was rejected.
    ///
    /// # Errors
    /// As [`try_incr`](Self::try_incr).
    #[inline]
    pub fn try_set(&self, name: impl AsRef<[u8]>, value: impl IntoValue) -> Result<(), RecordError> {
        self.write_by_name(name.as_ref(), WriteOp::Set, StoredValue::from_value(value.into_value()?))
    }

    /// Adds a sample to the series, or returns why it was rejected.
    ///
    /// # Errors
    /// As [`try_incr`](Self::try_incr). Also if the name has no `{0}`, or breaks a rule once a label is inserted.
    #[inline]
    pub fn try_record(&self, name: impl AsRef<[u8]>, value: impl IntoValue) -> Result<(), RecordError> {
        let sample = value.into_value()?.as_f64();
        self.record_by_name(name.as_ref(), sample, expand_template)
    }

    /// Adds a sample to the series, whose quantiles are named by `format`, or returns why it was rejected.
    ///
    /// # Errors
    /// As [`try_incr`](Self::try_incr). Also if a name that `format` writes breaks a rule.
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

    /// As [`try_incr`](Self::try_incr), but stores a new name by reference instead of copying it.
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

    /// As [`try_set`](Self::try_set), but stores a new name by reference instead of copying it.
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

    /// As [`try_record`](Self::try_record), but stores a new name by reference instead of copying it.
    ///
    /// # Errors
    /// As [`try_record`](Self::try_record).
    pub fn try_record_literal(&self, name: &'static str, value: impl IntoValue) -> Result<(), RecordError> {
        self.insert_or_record(NewName::Literal(name), value.into_value()?.as_f64(), expand_template).map(drop)
    }

    /// Returns the value of the stat, or `None` if nothing was recorded under this name. A series has no value.
    ///
    /// After a `set` it is exactly that value, unless another thread wrote to the stat in between.
    #[must_use]
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<Value> {
        let name = name.as_ref();
        let Ok(idx) = self.stat_names.find(name, &self.arena) else {
            // This stat is not in the directory.
            return rejected_value(&self.rejected).filter(|_| name == REJECTED_NAME);
        };
        Some(self.stats.view().get(idx)?.value())
    }

    /// Returns the number of rejected calls, the value of the stat `statvent.rejected`.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Calls `f` with the name and value of every stat, in the order of a [`Snapshot`].
    pub fn for_each(&self, f: impl FnMut(&[u8], Value)) {
        self.reader().for_each(f);
    }

    /// Returns a [`Snapshot`] that writes all stats as text.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<'_> {
        self.reader().snapshot()
    }

    /// Returns a reader of this registry. Its type does not depend on the size of the registry.
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
