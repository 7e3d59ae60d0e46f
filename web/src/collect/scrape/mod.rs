//! One scrape: probes all processes of a directory at the same time.
//!
//! `schedule` owns the order and the number of probes, `probe` the steps and timeouts of one.

mod probe;
mod schedule;

pub(super) use schedule::Scrape;
