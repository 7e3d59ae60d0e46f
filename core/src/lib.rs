#![doc = include_str!("../README.md")]
#![no_std]
#![deny(unsafe_code)]
#![cfg_attr(loom, allow(dead_code, unused_imports, reason = "the models use only parts of the crate"))]

#[cfg(any(test, feature = "std"))]
extern crate std;

mod sync;

mod error;
mod limits;
mod names;
mod quantiles;
mod value;

mod backend;

#[cfg(not(loom))]
mod call_site;
#[cfg(all(feature = "std", not(loom)))]
mod fork;
#[cfg(not(loom))]
mod handle;
#[cfg(all(feature = "json", not(loom)))]
pub mod json;
#[cfg(not(loom))]
mod record;
#[cfg(not(loom))]
mod registry;
#[cfg(not(loom))]
mod snapshot;

pub mod line;

#[cfg(all(test, loom))]
mod models;

pub use error::{RecordError, ValueError};
#[cfg(all(feature = "std", not(loom)))]
pub use fork::{free_shards_of_parent, freeze_shard_allocation, unfreeze_shard_allocation};
pub use limits::WINDOW_SAMPLES;
pub use names::name;
pub use quantiles::{DEFAULT_QUANTILES, MEAN_LABEL, Quantile};
pub use value::{IntoValue, Value};
#[cfg(not(loom))]
pub use {
    call_site::{CallSite, literal_name, literal_template},
    handle::{Counter, Gauge, Series},
    registry::Registry,
    snapshot::{MemoryRegion, Reader, Snapshot},
};
