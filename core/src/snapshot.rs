//! The reading side: one walk over all stats of a registry, as calls or as text.
//!
//! Owns the order of stats and the pauses of a snapshot. It changes no stat, and takes no lock but that of readers who
//! fetch a series' samples (see `own_ring`). The recorder, JSON and `for_each` all read through here.

use crate::append::View;
use crate::cell::{Cell, Stored};
use crate::directory::Entry;
use crate::line::{BufferTooSmall, format_text_line};
use crate::name::{FormatName, NameBuf, REJECTED_NAME};
use crate::own_ring::OwnRingsView;
use crate::ring::SampleRing;
use crate::series::{MEAN_LABEL, Quantile, Window};
use crate::shard::ShardsView;
use crate::sync::{AtomicU64, Ordering};
use crate::value::Value;

/// The reading side of a registry of any size: a few references, cheap to copy.
///
/// Readers never make a recording thread wait, and wait for nobody but each other, while one of them fetches the new
/// samples of a series; any number may read at once. The order is: all stats in the order of their registration,
/// then the quantiles of all series, then `statvent.rejected` if anything was.
#[derive(Clone, Copy)]
pub struct Reader<'r> {
    pub(crate) stats: View<'r, Entry<()>>,
    pub(crate) cells: &'r [Cell],
    pub(crate) shards: ShardsView<'r>,
    pub(crate) series: View<'r, Entry<FormatName>>,
    pub(crate) rings: &'r [SampleRing],
    pub(crate) own_rings: OwnRingsView<'r>,
    pub(crate) arena: View<'r, u8>,
    pub(crate) quantiles: &'static [Quantile],
    pub(crate) series_reading: Option<&'static SeriesReading>,
    pub(crate) rejected: &'r AtomicU64,
    pub(crate) memory: Memory,
    #[cfg(feature = "std")]
    pub(crate) name_gates: [&'r crate::sync::Gate; 3],
}

/// Where a registry lies: for whoever advises the system about that memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Memory {
    /// The address of its first byte.
    pub address: usize,
    /// Its size in bytes, of which a part is in use.
    pub n_bytes: usize,
}

impl<'r> Reader<'r> {
    /// Calls `f` with the name and value of every stat.
    pub fn for_each(self, mut f: impl FnMut(&[u8], Value)) {
        let mut walk = Walk::new(self);
        while let Some((name, value)) = walk.stat() {
            f(name, value.value());
            walk.advance();
        }
    }

    /// Returns where the registry lies.
    #[must_use]
    pub fn memory(self) -> Memory {
        self.memory
    }

    /// Begins to write all stats as text.
    #[must_use]
    pub fn snapshot(self) -> Snapshot<'r> {
        Snapshot { walk: Walk::new(self) }
    }
}

impl core::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Reader")
            .field("n_stats", &self.stats.len())
            .field("n_series", &self.series.len())
            .finish_non_exhaustive()
    }
}

impl<'r, const STATS: usize, const SERIES: usize, const NAME_BYTES: usize, const SHARDS: usize>
    From<&'r crate::Registry<STATS, SERIES, NAME_BYTES, SHARDS>> for Reader<'r>
{
    fn from(registry: &'r crate::Registry<STATS, SERIES, NAME_BYTES, SHARDS>) -> Self {
        registry.reader()
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
    walk: Walk<'r>,
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
        while let (Some((name, value)), Some(room)) = (self.walk.stat(), out.get_mut(n_bytes..)) {
            match value.with_text(|text| format_text_line(name, text, room)) {
                Ok(n) => n_bytes += n,
                Err(_) if n_bytes > 0 => break,
                Err(err) => return Err(err),
            }
            self.walk.advance();
        }
        Ok(n_bytes)
    }
}

/// Where a reader stands among the stats.
#[derive(Debug)]
pub(crate) struct Walk<'r> {
    reader: Reader<'r>,
    position: Position,
    /// The samples of the series at `position`.
    window: Window,
    /// The name and the value of the quantile at `position`.
    name: NameBuf,
    quantile: f64,
}

#[derive(Clone, Copy, Debug)]
enum Position {
    Stat(usize),
    /// A series and, of its table, a quantile; one past the last is the mean.
    Quantile(usize, usize),
    Rejected,
    End,
}

impl<'r> Walk<'r> {
    pub(crate) fn new(reader: Reader<'r>) -> Self {
        let mut walk = Self {
            reader,
            position: Position::Stat(0),
            window: Window::new(),
            name: NameBuf::new(),
            quantile: 0.0,
        };
        walk.settle();
        walk
    }

    /// The stat at which the walk stands; `None` at the end.
    pub(crate) fn stat(&self) -> Option<(&[u8], Stored)> {
        let reader = &self.reader;
        match self.position {
            Position::Stat(idx) => {
                let name = reader.stats.get(idx)?.name.bytes(reader.arena);
                Some((name, reader.cells.get(idx)?.get(reader.shards.column(idx))))
            }
            Position::Quantile(..) => Some((self.name.bytes(), (reader.series_reading?.value)(self))),
            Position::Rejected => Some((REJECTED_NAME, Stored::of(rejected_value(reader.rejected)?))),
            Position::End => None,
        }
    }

    /// Goes on to the next stat.
    pub(crate) fn advance(&mut self) {
        self.position = match self.position {
            Position::Stat(idx) => Position::Stat(idx + 1),
            Position::Quantile(series, row) if row < self.reader.quantiles.len() => {
                Position::Quantile(series, row + 1)
            }
            Position::Quantile(series, _) => Position::Quantile(series + 1, 0),
            Position::Rejected | Position::End => Position::End,
        };
        self.settle();
    }

    /// Moves on until the position is one that has a stat, and loads what that stat needs.
    fn settle(&mut self) {
        loop {
            self.position = match self.position {
                Position::Stat(idx) if idx < self.reader.stats.len() => return,
                Position::Stat(_) => Position::Quantile(0, 0),
                Position::Quantile(series, row) => {
                    let Some(reading) = self.reader.series_reading else {
                        self.position = Position::Rejected;
                        continue;
                    };
                    match (reading.load)(self, series, row) {
                        Ok(()) => return,
                        Err(next) => next,
                    }
                }
                Position::Rejected if rejected_value(self.reader.rejected).is_some() => return,
                Position::Rejected | Position::End => {
                    self.position = Position::End;
                    return;
                }
            };
        }
    }
}

/// What reading series takes, by reference: a registry without series has none of it, and a program that has no other
/// registry none of this code.
pub(crate) struct SeriesReading {
    load: fn(&mut Walk<'_>, usize, usize) -> Result<(), Position>,
    value: fn(&Walk<'_>) -> Stored,
}

impl SeriesReading {
    /// For a registry with room for so many.
    pub(crate) const fn of(n_series: usize) -> Option<&'static Self> {
        const READING: &SeriesReading = &SeriesReading {
            load: |walk, series, row| walk.load(series, row),
            value: |walk| Stored::of(Value::Float(walk.quantile)),
        };
        if n_series == 0 { None } else { Some(READING) }
    }
}

impl Walk<'_> {
    /// Loads the name and value of a quantile, and with the first one of a series its window; or says where to go on.
    fn load(&mut self, series: usize, row: usize) -> Result<(), Position> {
        let reader = self.reader;
        let (Some(entry), Some(ring)) = (reader.series.get(series), reader.rings.get(series)) else {
            return Err(Position::Rejected);
        };
        if row == 0 {
            reader.own_rings.fetch(series, ring);
            self.window = ring.window();
        }
        if self.window.is_empty() || !self.load_name(entry, row) {
            return Err(Position::Quantile(series + 1, 0));
        }
        self.quantile = match reader.quantiles.get(row) {
            Some((percent, _)) => self.window.quantile(*percent),
            None => self.window.mean(),
        };
        Ok(())
    }

    /// Writes the name of a quantile. False if it is no name, which registration has ruled out for every
    /// `FormatName` that keeps to writing the same bytes each time.
    fn load_name(&mut self, entry: &Entry<FormatName>, row: usize) -> bool {
        let label = self.reader.quantiles.get(row).map_or(MEAN_LABEL, |(_, label)| label);
        self.name = NameBuf::new();
        (entry.meta)(entry.name.bytes(self.reader.arena), label, &mut self.name);
        self.name.finish().is_ok()
    }
}
