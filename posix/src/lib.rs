#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

pub mod dir;
pub mod node;

pub mod liveness;
pub mod sweep;

mod fifo;
mod site;
mod stop;
mod write;

mod publication;
mod recorder;
mod text;
mod upkeep;

mod builder;
mod error;
mod exit;
mod handle;
mod once;
mod pages;

pub use builder::RecorderBuilder;
pub use dir::{DirError, PipeDir};
pub use error::Error;
pub use handle::Recorder;
pub use once::start_once;
