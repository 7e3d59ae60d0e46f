//! Reading a registry: its reader, and the snapshot as text.
//!
//! Owns the order of stats and the position of a snapshot. It changes no stat. All ways to read go through here,
//! also JSON and `for_each`.

use crate::backend::{AtomicU64, SamplesView, StatsView, StoredValue};
use crate::line::BufferTooSmall;
use crate::line::format::format_text_line;
use crate::names::append_vec::AppendVecView;
use crate::names::arena::StoredName;
use crate::names::name::{FormatName, NameBuf, REJECTED_NAME};
use crate::quantiles::{MEAN_LABEL, Quantile, Window};
use crate::sync::Ordering;
use crate::value::Value;

/// Reader of a registry of any size: a few references, cheap to copy.
///
/// Any number of readers may read at once. They never block a recording thread. They wait only for each other,
/// while one of them drains the new samples of a series. The order is: all stats in the order of registration, then
/// the quantiles of all series, then `statvent.rejected` if a call was rejected.
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
    /// In locking order.
    #[cfg(feature = "std")]
    pub(crate) mutexes: [&'r crate::backend::RawMutex; 4],
}

/// The memory of a registry, for advice to the operating system about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MemoryRegion {
    /// The address of its first byte.
    pub address: usize,
    /// Its size in bytes. Not all of it is in use.
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

    /// Returns the memory of the registry.
    #[must_use]
    pub fn memory(self) -> MemoryRegion {
        self.memory
    }

    /// Returns a snapshot that writes all stats as text.
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

/// Returns the value of the stat that counts rejected calls, or `None` if there were none.
pub(crate) fn rejected_value(rejected: &AtomicU64) -> Option<Value> {
    let n_rejected = i64::try_from(rejected.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
    (n_rejected > 0).then_some(Value::Int(n_rejected))
}

/// Writer of all stats as text, in as many pieces as the caller's buffer requires.
///
/// Each value is read when its line is written. The lines of one series come from one moment, even in different
/// pieces. A stat that is registered during the snapshot is included if its position has not passed. Allocates
/// nothing. Holds the samples of one series, about 1 KiB, in place.
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
    /// The position among the stats.
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
    /// A series, and a row of the table of quantiles. The row after the last is the mean.
    Quantile(usize, usize),
    Rejected,
    End,
}

impl Snapshot<'_> {
    /// Writes as many complete lines as fit to the beginning of `out`. Returns their length in bytes, or 0 at the
    /// end.
    ///
    /// # Errors
    /// [`BufferTooSmall`] if not even the next line fits. The line is not lost: call again with a larger buffer.
    /// [`MAX_OWN_LINE_BYTES`](crate::line::MAX_OWN_LINE_BYTES) hold any line.
    pub fn fill(&mut self, out: &mut [u8]) -> Result<usize, BufferTooSmall> {
        let mut n_bytes = 0;
        while let (Some((name, value)), Some(rest)) = (self.current(), out.get_mut(n_bytes..)) {
            match value.with_text(|text| format_text_line(name, text, rest)) {
                Ok(n) => n_bytes += n,
                Err(_) if n_bytes > 0 => break,
                Err(err) => return Err(err),
            }
            self.advance();
        }
        Ok(n_bytes)
    }

    /// Returns the stat at the current position, or `None` at the end.
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

    /// Moves to the next stat.
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

    /// Moves to the first position, from the current one on, that has a stat, and loads what the stat needs.
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

/// Function that reads series, as a pointer. A registry without series has none, so that a program without series
/// does not contain this code.
pub(crate) type LoadQuantile = fn(&mut Snapshot<'_>, series: usize, row: usize) -> Result<(), Position>;

/// Loads the name and value of a quantile, and with the first quantile the window of its series. If the
/// series is empty or the name is invalid, it returns the next position.
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
    // An invalid name is only possible if a format writes different bytes at each call: registration checks it.
    if snapshot.window.is_empty() || snapshot.name.finish().is_err() {
        return Err(Position::Quantile(series + 1, 0));
    }
    snapshot.quantile = StoredValue::from_value(Value::Float(match quantile {
        Some((percent, _)) => snapshot.window.quantile(*percent),
        None => snapshot.window.mean(),
    }));
    Ok(())
}
