//! Collects what the processes of a host say through their pipes.
//!
//! Owns everything between the pipe directory and a [`ProcessSnapshot`] for each process: finding pipes (`discover`, `candidates`),
//! reading one (`pipe`, `reading`), asking one until it is believed (`probe`, `validator`), asking all at the same time
//! (`scrape`), how much all may say (`quota`), judging who lives (`life`), remembering each between two collections
//! (`process`, `collector`), and what went wrong (`trouble`). It knows nothing of sums, JSON or HTTP.

mod candidates;
mod collector;
mod directory;
mod error;
mod liveness;
mod orphans;
mod pipe;
mod process;
mod quota;
mod scrape;
mod snapshot;
mod validation;
mod warning;

pub use candidates::MAX_PIPES;
pub use collector::Collector;
pub use error::{CollectError, Collection, Counts, PipeError};
pub use quota::{MAX_NAME_BYTES, MAX_NAMES, MAX_TOTAL_BYTES};
pub use snapshot::{
    MAX_BYTES_PER_PROCESS, MAX_STATS_PER_PROCESS, ProcessSnapshot, SnapshotBuilder, SnapshotError,
};
pub use warning::{ErrorChain, Reason, Warning};
