//! Collects what the processes of a host say through their pipes.
//!
//! Owns everything between the pipe directory and a [`Reading`] for each process: finding pipes (`discover`), reading
//! one (`pipe`, `reading`), waiting for many (`scrape`), judging who lives (`life`), and remembering each between two
//! collections (`collector`). It knows nothing of sums, JSON or HTTP. Called by `serve` from a thread of its own.

mod collector;
mod discover;
mod life;
mod pipe;
mod process;
mod reading;
mod scrape;

pub use collector::{CollectError, Collection, Collector, Counts};
pub use discover::MAX_PIPES;
pub use pipe::PipeError;
pub use reading::{MAX_READING_BYTES, MAX_READING_STATS, Reading, ReadingBuilder, ReadingError};
