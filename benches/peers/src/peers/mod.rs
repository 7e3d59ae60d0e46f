//! The contenders, one file per crate.
//!
//! The file of a crate owns how the crate does the work of each measurement, in the fastest way of its documentation, and
//! how its stats are read back. It measures nothing. A name known at compile time is a literal at the call site if the
//! crate has such a call; otherwise the metric is a `static` that is created on first use, as in the crates'
//! documentation. A name known at run time is the value of a label if the crate cannot find metrics by name.

use crate::contender::{Contenders, Measurement};

mod floor;
mod measured;
mod metrics;
mod metriken;
mod opentelemetry;
mod prometheus;
mod prometheus_client;
mod statvent;

/// The function that creates the contenders of a crate, new ones with each call.
type CreateContenders = fn(Measurement) -> Contenders;

/// All crates and the floors.
pub(crate) const CRATES: [(&str, CreateContenders); 8] = [
    ("statvent", statvent::contenders),
    ("measured", measured::contenders),
    ("metrics", metrics::contenders),
    ("metriken", metriken::contenders),
    ("opentelemetry", opentelemetry::contenders),
    ("prometheus", prometheus::contenders),
    ("prometheus-client", prometheus_client::contenders),
    ("floor", floor::contenders),
];
