//! The reading side: one walk over all stats of a registry, as calls or as text.
//!
//! Owns the order of stats and the pauses of a snapshot. It changes no stat. The recorder, JSON and `for_each` all read
//! through here.

use crate::backend::{AtomicU64, SamplesView, StatsView, StoredValue};
use crate::line::BufferTooSmall;
use crate::line::format::format_text_line;
use crate::names::append_vec::AppendVecView;
use crate::names::arena::StoredName;
use crate::names::name::{FormatName, NameBuf, REJECTED_NAME};
use crate::quantiles::{MEAN_LABEL, Quantile, Window};
use crate::sync::Ordering;
use crate::value::Value;

/// The reading side of a registry of any size: a few references, cheap to copy.
///
/// Readers never make a recording thread wait, and wait for nobody but each other, while one of them fetches the new
/// samples of a series; any number may read at once. The order is: all stats in the order of their registration,
/// then the quantiles of all series, then `statvent.rejected` if anything was.
#[derive(Clone, Copy)]
pub struct Reader<'r> {
    pub(crate) stat_names: AppendVecView<'r, StoredName>,
    pub(crate) stats: StatsView<'r>,
    pub(crate) series_names: AppendVecView<'r, StoredName>,
    pub(crate) formats: AppendVecView<'r, FormatName>,
    pub(crate) samples: SamplesView<'r>,
    pub(crate) arena: AppendVecView<'r, u8>,
    pub(crate) quantiles: &'static [Quantile],
    pub(crate) load_quantile: Option<LoadQuantile>,
    pub(crate) rejected: &'r AtomicU64,
    pub(crate) memory: MemoryRegion,
    /// In the order in which they are taken one within the other.
    #[cfg(feature = "std")]
    pub(crate) mutexes: [&'r crate::backend::RawMutex; 4],
}

/// Where a registry lies: for whoever advises the system about that memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MemoryRegion {
    /// The address of its first byte.
    pub address: usize,
    /// Its size in bytes, of which a part is in use.
    pub n_bytes: usize,
}

impl<'r> Reader<'r> {
    /// Calls `f` with the name and value of every stat.
    pub fn for_each(self, mut f: impl FnMut(&[u8], Value)) {
        let mut snapshot = self.snapshot();
        while let Some((name, value)) = snapshot.current() {
            f(name, value.value());
            snapshot.advance();
        }
    }

    /// Returns where the registry lies.
    #[must_use]
    pub fn memory(self) -> MemoryRegion {
        self.memory
    }

    /// Begins to write all stats as text.
    #[must_use]
    #[inline(never)]
    pub fn snapshot(self) -> Snapshot<'r> {
        let mut snapshot = Snapshot {
            reader: self,
            position: Position::Stat(0),
            window: Window::new(),
            name: NameBuf::new(),
            quantile: StoredValue::from_value(Value::Int(0)),
        };
        snapshot.normalize();
        snapshot
    }
}

impl core::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Reader")
            .field("n_stats", &self.stat_names.len())
            .field("n_series", &self.series_names.len())
            .finish_non_exhaustive()
    }
}

/// The value of the stat that counts rejections, which is there once there was one.
pub(crate) fn rejected_value(rejected: &AtomicU64) -> Option<Value> {
    let n_rejected = i64::try_from(rejected.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
    (n_rejected > 0).then_some(Value::Int(n_rejected))
}

/// All stats as text, in as many pieces as the caller's buffer makes necessary.
///
/// Each value is read when its line is written; the lines of one series come from one moment, also when they end
/// up in different pieces. Stats that are registered meanwhile are included if their turn is still to come.
/// Allocates nothing; holds one series' samples, about 1 KiB, in place.
///
/// ```
/// use statvent_core::Registry;
///
/// static STATS: Registry<8, 1, 64> = Registry::new();
/// STATS.incr("a", 1);
/// STATS.incr("b", 2);
///
/// let mut snapshot = STATS.snapshot();
/// let mut uart = Vec::new();
/// let mut line = [0; 6];
/// loop {
///     let n_bytes = snapshot.fill(&mut line)?;
///     if n_bytes == 0 {
///         break;
///     }
///     uart.extend_from_slice(&line[..n_bytes]);
/// }
/// assert_eq!(uart, b"a: 1\nb: 2\n");
/// # Ok::<(), statvent_core::line::BufferTooSmall>(())
/// ```
#[derive(Debug)]
pub struct Snapshot<'r> {
    reader: Reader<'r>,
    /// Where it stands among the stats.
    position: Position,
    /// The samples of the series at `position`.
    window: Window,
    /// The name and the value of the quantile at `position`.
    name: NameBuf,
    quantile: StoredValue,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Position {
    Stat(usize),
    /// A series and, of its table, a quantile; one past the last is the mean.
    Quantile(usize, usize),
    Rejected,
    End,
}

impl Snapshot<'_> {
    /// Writes as many whole lines as fit to the beginning of `out` and returns their length in bytes; 0 when
    /// there are no more.
    ///
    /// # Errors
    /// [`BufferTooSmall`] if not even the next line fits. It is not lost: call again with a larger buffer.
    /// [`MAX_OWN_LINE_BYTES`](crate::line::MAX_OWN_LINE_BYTES) hold any line.
    pub fn fill(&mut self, out: &mut [u8]) -> Result<usize, BufferTooSmall> {
        let mut n_bytes = 0;
        while let (Some((name, value)), Some(room)) = (self.current(), out.get_mut(n_bytes..)) {
            match value.with_text(|text| format_text_line(name, text, room)) {
                Ok(n) => n_bytes += n,
                Err(_) if n_bytes > 0 => break,
                Err(err) => return Err(err),
            }
            self.advance();
        }
        Ok(n_bytes)
    }

    /// The stat at which the snapshot stands; `None` at the end.
    pub(crate) fn current(&self) -> Option<(&[u8], StoredValue)> {
        let reader = &self.reader;
        match self.position {
            Position::Stat(idx) => {
                let name = reader.stat_names.get(idx)?.bytes(reader.arena);
                Some((name, reader.stats.get(idx)?))
            }
            Position::Quantile(..) => Some((self.name.bytes(), self.quantile)),
            Position::Rejected => {
                Some((REJECTED_NAME, StoredValue::from_value(rejected_value(reader.rejected)?)))
            }
            Position::End => None,
        }
    }

    /// Goes on to the next stat.
    #[inline]
    pub(crate) fn advance(&mut self) {
        self.position = match self.position {
            Position::Stat(idx) if idx + 1 < self.reader.stat_names.len() => {
                self.position = Position::Stat(idx + 1);
                return;
            }
            Position::Stat(idx) => Position::Stat(idx + 1),
            Position::Quantile(series, row) if row < self.reader.quantiles.len() => {
                Position::Quantile(series, row + 1)
            }
            Position::Quantile(series, _) => Position::Quantile(series + 1, 0),
            Position::Rejected | Position::End => Position::End,
        };
        self.normalize();
    }

    /// Moves on until the position is one that has a stat, and loads what that stat needs.
    #[inline(never)]
    fn normalize(&mut self) {
        loop {
            self.position = match self.position {
                Position::Stat(idx) if idx < self.reader.stat_names.len() => return,
                Position::Stat(_) => Position::Quantile(0, 0),
                Position::Quantile(series, row) => {
                    match self.reader.load_quantile.map(|load| load(self, series, row)) {
                        Some(Ok(())) => return,
                        Some(Err(next)) => next,
                        None => Position::Rejected,
                    }
                }
                Position::Rejected if rejected_value(self.reader.rejected).is_some() => return,
                Position::Rejected => Position::End,
                Position::End => return,
            };
        }
    }
}

/// What reading series takes, by reference: a registry without series has none of it, and a program that has no other
/// registry none of this code.
pub(crate) type LoadQuantile = fn(&mut Snapshot<'_>, series: usize, row: usize) -> Result<(), Position>;

/// Loads the name and value of a quantile, and with the first one of a series its window; or says where to go on.
pub(crate) fn load_quantile(snapshot: &mut Snapshot<'_>, series: usize, row: usize) -> Result<(), Position> {
    let reader = snapshot.reader;
    let (Some(name), Some(format)) = (reader.series_names.get(series), reader.formats.get(series)) else {
        return Err(Position::Rejected);
    };
    if row == 0
        && let Some(window) = reader.samples.window(series)
    {
        snapshot.window = window;
    }
    let quantile = reader.quantiles.get(row);
    snapshot.name = NameBuf::new();
    format(name.bytes(reader.arena), quantile.map_or(MEAN_LABEL, |(_, label)| label), &mut snapshot.name);
    // Registration has ruled out bad names for every format that writes the same bytes each time.
    if snapshot.window.is_empty() || snapshot.name.finish().is_err() {
        return Err(Position::Quantile(series + 1, 0));
    }
    snapshot.quantile = StoredValue::from_value(Value::Float(match quantile {
        Some((percent, _)) => snapshot.window.quantile(*percent),
        None => snapshot.window.mean(),
    }));
    Ok(())
}
