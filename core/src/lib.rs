#![doc = include_str!("../README.md")]
#![no_std]
#![deny(unsafe_code)]
#![cfg_attr(loom, allow(dead_code, unused_imports, reason = "the models use parts"))]

#[cfg(any(test, feature = "std"))]
extern crate std;

mod sync;

pub mod name;
mod value;

mod append;
mod arena;
mod cell;
mod directory;
mod float;
mod in_register;
mod own_ring;
mod series;
mod shard;
mod thread_number;

#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
mod handle;
#[cfg(all(feature = "json", not(loom)))]
pub mod json;
#[cfg(not(loom))]
mod name_cache;
#[cfg(not(loom))]
mod registry;
#[cfg(not(loom))]
mod slot;
#[cfg(not(loom))]
mod snapshot;

pub mod line;
pub mod pipe_name;

#[cfg(all(test, loom))]
mod models;

pub use series::{DEFAULT_QUANTILES, MEAN_LABEL, Quantile, WINDOW_SAMPLES};
pub use value::{IntoValue, Value, ValueError};
#[cfg(not(loom))]
pub use {
    error::RecordError,
    handle::{Counter, Gauge, Series, Site, literal_name, literal_template},
    registry::Registry,
    snapshot::{Memory, Reader, Snapshot},
};
