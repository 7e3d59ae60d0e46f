//! What one process said: its stats in the order of its lines, in compact form.
//!
//! Owns the step from chunks of bytes to stats, and the bounds on it. It must not touch a pipe or a clock.

use core::fmt;

use statvent_core::line::{Line, LineSplitter, Number, parse_line};

use super::quota::Charge;

/// The most bytes that one process may say in one collection.
pub const MAX_BYTES_PER_PROCESS: usize = 4 << 20;

/// The most stats that one process may have.
pub const MAX_STATS_PER_PROCESS: usize = 65_536;

/// The stats of one process.
///
/// ```
/// use statvent_core::line::Number;
/// use statvent_web::collect::ProcessSnapshot;
///
/// let reading = ProcessSnapshot::parse(b"hits: 3\nnonsense\n")?;
/// assert_eq!(reading.stats().collect::<Vec<_>>(), [(&b"hits"[..], Number::Int(3))]);
/// assert_eq!(reading.n_malformed(), 1);
/// # Ok::<(), statvent_web::collect::SnapshotError>(())
/// ```
#[derive(Debug, Default)]
pub struct ProcessSnapshot {
    /// Names and the digits of large integers, one after the other.
    text: Vec<u8>,
    stats: Vec<Stat>,
    n_malformed: usize,
    n_omitted: usize,
    is_torn: bool,
    charge: Charge,
}

impl ProcessSnapshot {
    /// Reads all that a process said, from its first byte to its last.
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
        self.stats.iter().map(|stat| (stat.name.of(&self.text), stat.value.number(&self.text)))
    }

    /// The number of lines that were skipped because they are none.
    #[must_use]
    pub const fn n_malformed(&self) -> usize {
        self.n_malformed
    }

    /// The number of lines that are stats.
    #[must_use]
    pub const fn n_stats(&self) -> usize {
        self.stats.len()
    }

    /// The number of stats that were left out because all processes together say more than there is room for.
    #[must_use]
    pub const fn n_omitted(&self) -> usize {
        self.n_omitted
    }

    /// Whether it ended within a line: somebody else took the rest, or the process did not write it.
    #[must_use]
    pub const fn is_torn(&self) -> bool {
        self.is_torn
    }

    /// The memory that this takes, in bytes.
    #[must_use]
    pub const fn n_bytes(&self) -> usize {
        self.text.len() + size_of_val(self.stats.as_slice())
    }

    /// Leaves out all but the first stats, so many as take no more memory than that.
    pub(super) fn truncate_to(&mut self, n_bytes: usize) {
        if self.n_bytes() > n_bytes {
            let takes_less =
                |(idx, stat): &(usize, &Stat)| stat.name.start as usize + idx * size_of::<Stat>() <= n_bytes;
            let n_begun = self.stats.iter().enumerate().take_while(takes_less).count();
            self.truncate(n_begun.saturating_sub(1));
        }
    }

    /// Leaves out all but the first stats.
    pub(super) fn truncate(&mut self, n_stats: usize) {
        let Some(first) = self.stats.get(n_stats) else { return };
        self.text.truncate(first.name.start as usize);
        self.n_omitted += self.stats.len() - n_stats;
        self.stats.truncate(n_stats);
        self.shrink();
    }

    /// Charges what it takes beyond the one that it replaces.
    pub(super) fn recharge(&mut self, replaced_bytes: usize) {
        self.charge.replace(replaced_bytes, self.n_bytes());
    }

    fn shrink(&mut self) {
        self.text.shrink_to_fit();
        self.stats.shrink_to_fit();
        self.charge.set(self.n_bytes());
    }
}

/// Makes a [`ProcessSnapshot`] of chunks as they come; by default everything has room.
#[derive(Debug, Default)]
pub struct SnapshotBuilder {
    splitter: LineSplitter,
    reading: ProcessSnapshot,
    n_fed: usize,
}

impl SnapshotBuilder {
    /// Returns a builder that leaves out what its quota has no room for.
    pub(super) fn within(charge: Charge) -> Self {
        Self { reading: ProcessSnapshot { charge, ..ProcessSnapshot::default() }, ..Self::default() }
    }

    /// Takes the next chunk; lines that are none are skipped and counted.
    ///
    /// # Errors
    /// [`SnapshotError`] when a bound is passed; what was read so far is of no use then.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), SnapshotError> {
        self.n_fed = self.n_fed.saturating_add(chunk.len());
        if self.n_fed > MAX_BYTES_PER_PROCESS {
            return Err(SnapshotError::TooManyBytes);
        }
        let reading = &mut self.reading;
        let limit_bytes = reading.charge.limit_bytes();
        self.splitter.feed(chunk, |line| match line.and_then(parse_line) {
            Ok(line) => reading.push(line, limit_bytes),
            Err(_) => reading.n_malformed += 1,
        });
        reading.charge.set(reading.n_bytes());
        let n_stats = reading.stats.len() + reading.n_omitted;
        if n_stats > MAX_STATS_PER_PROCESS { Err(SnapshotError::TooManyStats) } else { Ok(()) }
    }

    /// Whether nothing was said yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.n_fed == 0
    }

    /// The memory that this takes, in bytes.
    #[must_use]
    pub const fn n_bytes(&self) -> usize {
        self.reading.n_bytes()
    }

    /// As [`ProcessSnapshot::recharge`].
    pub(super) fn recharge(&mut self, replaced_bytes: usize) {
        self.reading.recharge(replaced_bytes);
    }

    /// Ends the reading; a last line without its newline is skipped and counted.
    #[must_use]
    pub fn finish(mut self) -> ProcessSnapshot {
        self.reading.is_torn = self.splitter.finish().is_err();
        self.reading.n_malformed += usize::from(self.reading.is_torn);
        self.reading.shrink();
        self.reading
    }
}

/// Why a process is not listened to any further.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SnapshotError {
    /// More than [`MAX_BYTES_PER_PROCESS`].
    TooManyBytes,
    /// More than [`MAX_STATS_PER_PROCESS`].
    TooManyStats,
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyBytes => write!(
                f,
                "the process wrote more than {MAX_BYTES_PER_PROCESS} bytes: expected its stats and an end"
            ),
            Self::TooManyStats => {
                write!(f, "the process wrote more than {MAX_STATS_PER_PROCESS} stats: publish fewer")
            }
        }
    }
}

impl core::error::Error for SnapshotError {}

/// Kept small: there is one for each line of each process.
#[derive(Debug)]
struct Stat {
    name: Span,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Int(i64),
    BigInt(Span),
    Float(f64),
}

impl Value {
    fn number<'a>(&self, text: &'a [u8]) -> Number<'a> {
        match self {
            Self::Int(int) => Number::Int(*int),
            Self::BigInt(digits) => Number::BigInt(digits.of(text)),
            Self::Float(float) => Number::Float(*float),
        }
    }
}

/// A part of the text.
#[derive(Debug)]
struct Span {
    start: u32,
    len: u16,
}

impl Span {
    /// Appends `bytes` to `text`. Both fit: a text is no longer than [`MAX_BYTES_PER_PROCESS`], and what is kept no longer
    /// than a line.
    fn keep(text: &mut Vec<u8>, bytes: &[u8]) -> Self {
        let start = text.len() as u32;
        text.extend_from_slice(bytes);
        Self { start, len: bytes.len() as u16 }
    }

    fn of<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        &text[self.start as usize..][..usize::from(self.len)]
    }
}

impl ProcessSnapshot {
    /// Keeps a line, or leaves it out: once one is, so are all that follow.
    fn push(&mut self, line: Line<'_>, limit_bytes: usize) {
        let n_digits = if let Number::BigInt(digits) = line.value { digits.len() } else { 0 };
        let n_bytes = self.n_bytes() + line.name.len() + n_digits + size_of::<Stat>();
        if n_bytes > limit_bytes || self.n_omitted > 0 || self.stats.len() > MAX_STATS_PER_PROCESS {
            self.n_omitted += 1;
            return;
        }
        let name = Span::keep(&mut self.text, line.name);
        let value = match line.value {
            Number::Int(int) => Value::Int(int),
            Number::BigInt(digits) => Value::BigInt(Span::keep(&mut self.text, digits)),
            Number::Float(float) => Value::Float(float),
        };
        self.stats.push(Stat { name, value });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_make_no_difference() {
        let text = b"a: 1\nbig: 18446744073709551617\n\nf: .5\nb: x\na: 2\ntorn: 7";
        let whole = ProcessSnapshot::parse(text).unwrap();
        for size in 1..text.len() {
            let mut builder = SnapshotBuilder::default();
            text.chunks(size).for_each(|chunk| builder.feed(chunk).unwrap());
            let reading = builder.finish();
            assert!(reading.stats().eq(whole.stats()), "chunks of {size}");
            assert_eq!((reading.n_malformed(), reading.is_torn()), (3, true));
        }
        let stats: Vec<_> = whole.stats().collect();
        assert_eq!(stats[1], (&b"big"[..], Number::BigInt(b"18446744073709551617")));
        assert_eq!(stats.len(), 4);
    }

    #[test]
    fn one_byte_above_the_limit_ends_the_reading() {
        let mut builder = SnapshotBuilder::default();
        let chunk = vec![b'x'; MAX_BYTES_PER_PROCESS];
        assert_eq!(builder.feed(&chunk), Ok(()));
        assert_eq!(builder.feed(b"x"), Err(SnapshotError::TooManyBytes));
        assert!(builder.n_bytes() < 4096, "nonsense takes no memory");
    }

    #[test]
    fn one_stat_above_the_limit_ends_the_reading() {
        let mut lines = b"a:1\n".repeat(MAX_STATS_PER_PROCESS);
        assert!(ProcessSnapshot::parse(&lines).is_ok());
        lines.extend_from_slice(b"a:1\n");
        assert_eq!(ProcessSnapshot::parse(&lines).unwrap_err(), SnapshotError::TooManyStats);
    }

    #[test]
    fn messages_say_the_limit() {
        assert_eq!(
            SnapshotError::TooManyBytes.to_string(),
            "the process wrote more than 4194304 bytes: expected its stats and an end"
        );
        assert_eq!(
            SnapshotError::TooManyStats.to_string(),
            "the process wrote more than 65536 stats: publish fewer"
        );
    }
}
