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
mod directory;
mod series;

mod backend;

#[cfg(not(loom))]
mod call_site;
#[cfg(not(loom))]
mod error;
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
pub mod pipe_name;

#[cfg(all(test, loom))]
mod models;

#[cfg(all(feature = "std", not(loom)))]
pub use fork::{forget_threads_of_parent, hold_threads, release_threads};
pub use series::{DEFAULT_QUANTILES, MEAN_LABEL, Quantile, WINDOW_SAMPLES};
pub use value::{IntoValue, Value, ValueError};
#[cfg(not(loom))]
pub use {
    call_site::{Site, literal_name, literal_template},
    error::RecordError,
    handle::{Counter, Gauge, Series},
    registry::Registry,
    snapshot::{Memory, Reader, Snapshot},
};
