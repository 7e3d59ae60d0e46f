//! What one process said: its stats in the order of its lines, in one compact block.
//!
//! Owns the step from chunks of bytes to stats, and the bounds on it. It must not touch a pipe or a clock. Called
//! by `pipe` chunk by chunk; read by `aggregate`, and by everything that shows stats per process.

use core::fmt;

use statvent_core::line::{Line, LineSplitter, Number, parse_line};

use super::blocks::{Blocks, Span};

/// The most bytes that one process may say in one collection.
pub const MAX_READING_BYTES: usize = 4 << 20;

/// The most stats that one process may have.
pub const MAX_READING_STATS: usize = 65_536;

/// Blocks of 24 KiB.
const STATS_A_BLOCK: usize = 1024;

/// Names and digits, each shorter than a line, in blocks that hold several of them.
type Text = Blocks<u8, { 32 << 10 }>;

/// The stats of one process.
///
/// ```
/// use statvent_core::line::Number;
/// use statvent_web::collect::Reading;
///
/// let reading = Reading::parse(b"hits: 3\nnonsense\n")?;
/// assert_eq!(reading.stats().collect::<Vec<_>>(), [(&b"hits"[..], Number::Int(3))]);
/// assert_eq!(reading.n_malformed(), 1);
/// # Ok::<(), statvent_web::collect::ReadingError>(())
/// ```
#[derive(Debug, Default)]
pub struct Reading {
    /// Names and the digits of large integers, one after the other.
    text: Text,
    stats: Blocks<Stat, STATS_A_BLOCK>,
    n_stats: usize,
    n_malformed: usize,
    is_torn: bool,
}

impl Reading {
    /// Reads all that a process said, from its first byte to its last.
    ///
    /// # Errors
    /// As [`ReadingBuilder::feed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ReadingError> {
        let mut builder = ReadingBuilder::new();
        builder.feed(bytes)?;
        Ok(builder.finish())
    }

    /// Iterates over names and values in the order of the lines; a name may come twice.
    pub fn stats(&self) -> impl Iterator<Item = (&[u8], Number<'_>)> {
        self.stats.iter().map(|stat| (self.text.get(&stat.name), stat.value.number(&self.text)))
    }

    /// The number of lines that were skipped because they are none.
    #[must_use]
    pub const fn n_malformed(&self) -> usize {
        self.n_malformed
    }

    /// The number of lines that are stats.
    #[must_use]
    pub const fn n_stats(&self) -> usize {
        self.n_stats
    }

    /// Whether it ended within a line: somebody else took the rest, or the process did not write it.
    #[must_use]
    pub const fn is_torn(&self) -> bool {
        self.is_torn
    }

    /// The memory that this takes, in bytes.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        self.text.n_bytes() + self.stats.n_bytes()
    }
}

/// Makes a [`Reading`] of chunks as they come.
#[derive(Debug, Default)]
pub struct ReadingBuilder {
    splitter: LineSplitter,
    reading: Reading,
    n_fed: usize,
}

impl ReadingBuilder {
    /// Returns a builder to which nothing was said yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next chunk; lines that are none are skipped and counted.
    ///
    /// # Errors
    /// [`ReadingError`] when a bound is passed; what was read so far is of no use then.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), ReadingError> {
        self.n_fed = self.n_fed.saturating_add(chunk.len());
        if self.n_fed > MAX_READING_BYTES {
            return Err(ReadingError::TooManyBytes);
        }
        let reading = &mut self.reading;
        self.splitter.feed(chunk, |line| match line.and_then(parse_line) {
            // One more than the limit is enough to know that it was passed.
            Ok(line) if reading.n_stats <= MAX_READING_STATS => reading.push(line),
            Ok(_) => {}
            Err(_) => reading.n_malformed += 1,
        });
        if self.reading.n_stats > MAX_READING_STATS { Err(ReadingError::TooManyStats) } else { Ok(()) }
    }

    /// Whether nothing was said yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.n_fed == 0
    }

    /// The memory that this takes, in bytes.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        self.reading.n_bytes()
    }

    /// Ends the reading; a last line without its newline is skipped and counted.
    #[must_use]
    pub fn finish(mut self) -> Reading {
        self.reading.is_torn = self.splitter.finish().is_err();
        self.reading.n_malformed += usize::from(self.reading.is_torn);
        self.reading.text.shrink();
        self.reading.stats.shrink();
        self.reading
    }
}

/// Why a process is not listened to any further.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ReadingError {
    /// More than [`MAX_READING_BYTES`].
    TooManyBytes,
    /// More than [`MAX_READING_STATS`].
    TooManyStats,
}

impl fmt::Display for ReadingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyBytes => write!(
                f,
                "the process wrote more than {MAX_READING_BYTES} bytes: expected its stats and an end"
            ),
            Self::TooManyStats => {
                write!(f, "the process wrote more than {MAX_READING_STATS} stats: publish fewer")
            }
        }
    }
}

impl core::error::Error for ReadingError {}

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
    fn number<'a>(&self, text: &'a Text) -> Number<'a> {
        match self {
            Self::Int(int) => Number::Int(*int),
            Self::BigInt(digits) => Number::BigInt(text.get(digits)),
            Self::Float(float) => Number::Float(*float),
        }
    }
}

impl Reading {
    fn push(&mut self, line: Line<'_>) {
        let name = self.text.keep(line.name);
        let value = match line.value {
            Number::Int(int) => Value::Int(int),
            Number::BigInt(digits) => Value::BigInt(self.text.keep(digits)),
            Number::Float(float) => Value::Float(float),
        };
        self.stats.push(Stat { name, value });
        self.n_stats += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_make_no_difference() {
        let text = b"a: 1\nbig: 18446744073709551617\n\nf: .5\nb: x\na: 2\ntorn: 7";
        let whole = Reading::parse(text).unwrap();
        for size in 1..text.len() {
            let mut builder = ReadingBuilder::new();
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
        let mut builder = ReadingBuilder::new();
        let chunk = vec![b'x'; MAX_READING_BYTES];
        assert_eq!(builder.feed(&chunk), Ok(()));
        assert_eq!(builder.feed(b"x"), Err(ReadingError::TooManyBytes));
        assert!(builder.n_bytes() < 4096, "nonsense takes no memory");
    }

    #[test]
    fn one_stat_above_the_limit_ends_the_reading() {
        let mut lines = b"a:1\n".repeat(MAX_READING_STATS);
        assert!(Reading::parse(&lines).is_ok());
        lines.extend_from_slice(b"a:1\n");
        assert_eq!(Reading::parse(&lines).unwrap_err(), ReadingError::TooManyStats);
    }

    #[test]
    fn messages_say_the_limit() {
        assert_eq!(
            ReadingError::TooManyBytes.to_string(),
            "the process wrote more than 4194304 bytes: expected its stats and an end"
        );
        assert_eq!(
            ReadingError::TooManyStats.to_string(),
            "the process wrote more than 65536 stats: publish fewer"
        );
    }
}
