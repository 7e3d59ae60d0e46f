//! The snapshot of one process: its stats in the order of its lines, in compact form.
//!
//! Owns parsing from chunks of bytes to stats, and the limits of one process. It must not touch a pipe or a clock.

use statvent_core::line::{Line, LineSplitter, Number, parse_line};

use super::error::SnapshotError;
use super::quota::Charge;
use crate::limits::{MAX_BYTES_PER_PROCESS, MAX_STATS_PER_PROCESS};

/// The stats of one process.
///
/// ```
/// use statvent_core::line::Number;
/// use statvent_web::collect::ProcessSnapshot;
///
/// let snapshot = ProcessSnapshot::parse(b"hits: 3\nnonsense\n")?;
/// assert_eq!(snapshot.stats().collect::<Vec<_>>(), [(&b"hits"[..], Number::Int(3))]);
/// assert_eq!(snapshot.n_malformed(), 1);
/// # Ok::<(), statvent_web::collect::SnapshotError>(())
/// ```
#[derive(Debug, Default)]
pub struct ProcessSnapshot {
    /// Names, and the digits of integers beyond 64 bits, one after the other.
    text: Vec<u8>,
    stats: Vec<StoredStat>,
    n_malformed: usize,
    n_left_out: usize,
    is_torn: bool,
    charge: Charge,
}

impl ProcessSnapshot {
    /// Parses everything that a process wrote, from its first byte to its last.
    ///
    /// # Errors
    /// As [`SnapshotBuilder::feed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let mut builder = SnapshotBuilder::default();
        builder.feed(bytes)?;
        Ok(builder.finish())
    }

    /// Iterates over names and values in the order of the lines; a name may come twice.
    pub fn stats(&self) -> impl Iterator<Item = (&[u8], Number<'_>)> {
        self.stats.iter().map(|stat| (stat.name.slice(&self.text), stat.value.number(&self.text)))
    }

    /// Returns the number of malformed lines, which were skipped.
    #[must_use]
    pub const fn n_malformed(&self) -> usize {
        self.n_malformed
    }

    /// Returns the number of stats, repeated names included.
    #[must_use]
    pub const fn n_stats(&self) -> usize {
        self.stats.len()
    }

    /// Returns the number of stats that were left out because the snapshots of all processes exceed a limit.
    #[must_use]
    pub const fn n_left_out(&self) -> usize {
        self.n_left_out
    }

    /// Returns whether it ended within a line: another reader took the rest, or the process did not write it.
    #[must_use]
    pub const fn is_torn(&self) -> bool {
        self.is_torn
    }

    /// Returns the memory of the stats, in bytes.
    #[must_use]
    pub const fn n_bytes(&self) -> usize {
        self.text.len() + size_of_val(self.stats.as_slice())
    }

    /// Keeps only the first stats, as many as take no more than `n_bytes` of memory.
    pub(super) fn truncate_to(&mut self, n_bytes: usize) {
        if self.n_bytes() > n_bytes {
            let takes_less = |(idx, stat): &(usize, &StoredStat)| {
                stat.name.start as usize + idx * size_of::<StoredStat>() <= n_bytes
            };
            let n_begun = self.stats.iter().enumerate().take_while(takes_less).count();
            self.truncate(n_begun.saturating_sub(1));
        }
    }

    /// Keeps only the first `n_stats`; counts the others as left out.
    pub(super) fn truncate(&mut self, n_stats: usize) {
        let Some(first) = self.stats.get(n_stats) else { return };
        self.text.truncate(first.name.start as usize);
        self.n_left_out += self.stats.len() - n_stats;
        self.stats.truncate(n_stats);
        self.shrink();
    }

    /// Charges the memory beyond `replaced_bytes`, the size of the snapshot that this one will replace.
    pub(super) fn charge_beyond(&mut self, replaced_bytes: usize) {
        self.charge.set_beyond(replaced_bytes, self.n_bytes());
    }

    fn shrink(&mut self) {
        self.text.shrink_to_fit();
        self.stats.shrink_to_fit();
        self.charge.set(self.n_bytes());
    }
}

/// Parses a [`ProcessSnapshot`] from chunks as they arrive; the default has no quota.
#[derive(Debug, Default)]
pub struct SnapshotBuilder {
    splitter: LineSplitter,
    snapshot: ProcessSnapshot,
    n_fed: usize,
}

impl SnapshotBuilder {
    /// Returns a builder that leaves out stats above the quota.
    pub(super) fn within(charge: Charge) -> Self {
        Self { snapshot: ProcessSnapshot { charge, ..ProcessSnapshot::default() }, ..Self::default() }
    }

    /// Parses the next chunk; malformed lines are skipped and counted.
    ///
    /// # Errors
    /// [`SnapshotError`] when a limit is exceeded; the builder is of no use then.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), SnapshotError> {
        self.n_fed = self.n_fed.saturating_add(chunk.len());
        if self.n_fed > MAX_BYTES_PER_PROCESS {
            return Err(SnapshotError::TooManyBytes);
        }
        let snapshot = &mut self.snapshot;
        let limit_bytes = snapshot.charge.limit_bytes();
        self.splitter.feed(chunk, |line| match line.and_then(parse_line) {
            Ok(line) => snapshot.push(line, limit_bytes),
            Err(_) => snapshot.n_malformed += 1,
        });
        snapshot.charge.set(snapshot.n_bytes());
        let n_stats = snapshot.stats.len() + snapshot.n_left_out;
        if n_stats > MAX_STATS_PER_PROCESS { Err(SnapshotError::TooManyStats) } else { Ok(()) }
    }

    /// Returns whether no byte arrived yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.n_fed == 0
    }

    /// Returns the memory of the stats, in bytes.
    #[must_use]
    pub const fn n_bytes(&self) -> usize {
        self.snapshot.n_bytes()
    }

    /// See [`ProcessSnapshot::charge_beyond`].
    pub(super) fn charge_beyond(&mut self, replaced_bytes: usize) {
        self.snapshot.charge_beyond(replaced_bytes);
    }

    /// Ends the snapshot; a last line without its newline is skipped and counted.
    #[must_use]
    pub fn finish(mut self) -> ProcessSnapshot {
        self.snapshot.is_torn = self.splitter.finish().is_err();
        self.snapshot.n_malformed += usize::from(self.snapshot.is_torn);
        self.snapshot.shrink();
        self.snapshot
    }
}

/// One stat. Small, because there is one for each line of each process.
#[derive(Debug)]
struct StoredStat {
    name: TextRange,
    value: StoredValue,
}

#[derive(Debug)]
enum StoredValue {
    Int(i64),
    BigInt(TextRange),
    Float(f64),
}

impl StoredValue {
    fn number<'a>(&self, text: &'a [u8]) -> Number<'a> {
        match self {
            Self::Int(int) => Number::Int(*int),
            Self::BigInt(digits) => Number::BigInt(digits.slice(text)),
            Self::Float(float) => Number::Float(*float),
        }
    }
}

/// A range of the text.
#[derive(Debug)]
struct TextRange {
    start: u32,
    len: u16,
}

impl TextRange {
    /// Appends `bytes` to `text`. Both casts fit: a text has at most [`MAX_BYTES_PER_PROCESS`] bytes, and `bytes` is at most
    /// one line.
    fn append(text: &mut Vec<u8>, bytes: &[u8]) -> Self {
        let start = text.len() as u32;
        text.extend_from_slice(bytes);
        Self { start, len: bytes.len() as u16 }
    }

    fn slice<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        &text[self.start as usize..][..usize::from(self.len)]
    }
}

impl ProcessSnapshot {
    /// Stores a line, or leaves it out if it exceeds the limit; then all later lines are left out as well.
    fn push(&mut self, line: Line<'_>, limit_bytes: usize) {
        let n_digits = if let Number::BigInt(digits) = line.value { digits.len() } else { 0 };
        let n_bytes = self.n_bytes() + line.name.len() + n_digits + size_of::<StoredStat>();
        if n_bytes > limit_bytes || self.n_left_out > 0 || self.stats.len() > MAX_STATS_PER_PROCESS {
            self.n_left_out += 1;
            return;
        }
        let name = TextRange::append(&mut self.text, line.name);
        let value = match line.value {
            Number::Int(int) => StoredValue::Int(int),
            Number::BigInt(digits) => StoredValue::BigInt(TextRange::append(&mut self.text, digits)),
            Number::Float(float) => StoredValue::Float(float),
        };
        self.stats.push(StoredStat { name, value });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_chunking_gives_the_same_snapshot() {
        let text = b"a: 1\nbig: 18446744073709551617\n\nf: .5\nb: x\na: 2\ntorn: 7";
        let whole = ProcessSnapshot::parse(text).unwrap();
        for size in 1..text.len() {
            let mut builder = SnapshotBuilder::default();
            text.chunks(size).for_each(|chunk| builder.feed(chunk).unwrap());
            let snapshot = builder.finish();
            assert!(snapshot.stats().eq(whole.stats()), "chunks of {size}");
            assert_eq!((snapshot.n_malformed(), snapshot.is_torn()), (3, true));
        }
        let stats: Vec<_> = whole.stats().collect();
        assert_eq!(stats[1], (&b"big"[..], Number::BigInt(b"18446744073709551617")));
        assert_eq!(stats.len(), 4);
    }

    #[test]
    fn one_byte_above_the_limit_is_an_error() {
        let mut builder = SnapshotBuilder::default();
        let chunk = vec![b'x'; MAX_BYTES_PER_PROCESS];
        assert_eq!(builder.feed(&chunk), Ok(()));
        assert_eq!(builder.feed(b"x"), Err(SnapshotError::TooManyBytes));
        assert!(builder.n_bytes() < 4096, "malformed lines take no memory");
    }

    #[test]
    fn one_stat_above_the_limit_is_an_error() {
        let mut lines = b"a:1\n".repeat(MAX_STATS_PER_PROCESS);
        assert!(ProcessSnapshot::parse(&lines).is_ok());
        lines.extend_from_slice(b"a:1\n");
        assert_eq!(ProcessSnapshot::parse(&lines).unwrap_err(), SnapshotError::TooManyStats);
    }
}
