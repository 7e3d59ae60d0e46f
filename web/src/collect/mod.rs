//! Collects what the processes of a host say through their pipes.
//!
//! Owns everything between the pipe directory and a [`Reading`] for each process: finding pipes (`discover`), reading
//! one (`pipe`, `reading`), asking one until it is believed (`asked`, `belief`), waiting for many (`scrape`), judging who
//! lives (`life`), remembering each between two collections (`process`, `collector`), and what went wrong (`trouble`).
//! It knows nothing of sums, JSON or HTTP. Called by `serve` from a thread of its own.

mod asked;
mod belief;
mod collector;
mod discover;
mod life;
mod pipe;
mod process;
mod reading;
mod scrape;
mod trouble;

pub use collector::{CollectError, Collection, Collector, Counts, MAX_PIPES};
pub use pipe::PipeError;
pub use reading::{MAX_READING_BYTES, MAX_READING_STATS, Reading, ReadingBuilder, ReadingError};
pub use trouble::{Reason, Trouble};
