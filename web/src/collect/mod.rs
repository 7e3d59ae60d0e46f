//! Collects what the processes of a host say through their pipes.
//!
//! Owns everything between the pipe directory and a [`Reading`] for each process: finding pipes (`discover`, `newcomers`), reading
//! one (`pipe`, `reading`), asking one until it is believed (`asked`, `belief`), waiting for many (`scrape`), how much
//! all may say (`admission`), judging who lives (`life`), remembering each between two collections (`process`, `collector`), and what went wrong (`trouble`).
//! It knows nothing of sums, JSON or HTTP. Called by `serve` from a thread of its own.

mod admission;
mod asked;
mod belief;
mod blocks;
mod collector;
mod discover;
mod life;
mod newcomers;
mod outcome;
mod pipe;
mod process;
mod reading;
mod rest;
mod scrape;
mod spares;
mod trouble;

pub use admission::{MAX_NAME_BYTES, MAX_NAMES};
pub use collector::{Collector, MAX_PIPES};
pub use outcome::{CollectError, Collection, Counts};
pub use pipe::PipeError;
pub use reading::{MAX_READING_BYTES, MAX_READING_STATS, Reading, ReadingBuilder, ReadingError};
pub use trouble::{Reason, Trouble};
