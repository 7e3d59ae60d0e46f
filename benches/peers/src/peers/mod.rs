//! All contenders, one file per crate.
//!
//! A crate's file owns how that crate does each measurement's work, in the fastest way that its documentation shows
//! for it, and how its stats are read back. It measures nothing. A name known when compiling is a literal at the call
//! site where the crate has such a call, else a `static` made on first use, as these crates' documentation does it. A
//! name known at run time is a label's value where metrics cannot be found by name.

use crate::contender::{Contender, Measurement};

mod floor;
mod measured;
mod metrics;
mod metriken;
mod opentelemetry;
mod prometheus;
mod prometheus_client;
mod statvent;

/// A crate's contenders for a measurement, or why it has none.
pub(crate) type Offer = Result<Vec<Contender>, &'static str>;

/// What a crate's file does: makes contenders, new ones each time.
type Offering = fn(Measurement) -> Offer;

/// All crates, and the floors.
pub(crate) const CRATES: [(&str, Offering); 8] = [
    ("statvent", statvent::contenders),
    ("measured", measured::contenders),
    ("metrics", metrics::contenders),
    ("metriken", metriken::contenders),
    ("opentelemetry", opentelemetry::contenders),
    ("prometheus", prometheus::contenders),
    ("prometheus-client", prometheus_client::contenders),
    ("floor", floor::contenders),
];
