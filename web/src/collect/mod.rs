//! Collects what the processes of a host say through their pipes.
//!
//! Owns everything between the pipe directory and a [`Reading`] for each process: finding pipes (`discover`, `candidates`),
//! reading one (`pipe`, `reading`), asking one until it is believed (`probe`, `belief`), asking all at the same time
//! (`scrape`), how much all may say (`quota`), judging who lives (`life`), remembering each between two collections
//! (`process`, `collector`), and what went wrong (`trouble`). It knows nothing of sums, JSON or HTTP.

mod belief;
mod candidates;
mod collector;
mod discover;
mod life;
mod outcome;
mod pipe;
mod probe;
mod process;
mod quota;
mod reading;
mod scrape;
mod spares;
mod trouble;

pub use candidates::MAX_PIPES;
pub use collector::Collector;
pub use outcome::{CollectError, Collection, Counts, PipeError};
pub use quota::{MAX_NAME_BYTES, MAX_NAMES, MAX_SNAPSHOT_BYTES};
pub use reading::{MAX_READING_BYTES, MAX_READING_STATS, Reading, ReadingBuilder, ReadingError};
pub use trouble::{Reason, Trouble, WithCauses};
