//! One scrape: probes all processes of a directory at the same time.
//!
//! `schedule` owns the order and the number of probes, `probe` the steps and timeouts of one, `context` what they share.
//! Nothing here outlives the scrape: what is remembered of a process is in `process`.

mod context;
mod probe;
mod schedule;

pub(super) use context::ScrapeContext;
pub(super) use schedule::probe_all;
