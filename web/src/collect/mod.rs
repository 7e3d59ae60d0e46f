//! Scrapes the pipes of a host: from a pipe directory to one snapshot for each process.
//!
//! A scrape goes through these modules:
//!
//! 1. `directory` lists the pipes, `candidates` chooses those that are read, `orphans` removes left-over hidden ones.
//! 2. `scrape` probes all processes at the same time. A probe opens and locks a `pipe`, parses a `snapshot` within the
//!    `quota`, and asks again until `validation` accepts it.
//! 3. `process` keeps the result of each probe between two scrapes; `liveness` tells dead processes from silent ones.
//! 4. `collector` truncates (`truncation`) and returns the `result`, with a `warning` for each problem.
//!
//! It must not sum, encode or know HTTP.

mod candidates;
mod collector;
mod directory;
mod error;
mod liveness;
mod orphans;
mod pipe;
mod process;
mod quota;
mod result;
mod scrape;
mod snapshot;
mod truncation;
mod validation;
mod warning;

pub use collector::Collector;
pub use error::{CollectError, PipeError, SnapshotError};
pub use result::{Collection, Counts};
pub use snapshot::{ProcessSnapshot, SnapshotBuilder};
pub use warning::{Reason, Warning};
