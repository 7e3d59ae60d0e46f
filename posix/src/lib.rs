#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

pub mod dir;
pub mod hidden;
pub mod node;

mod descriptor;
mod lock;

pub mod liveness;
pub mod sweep;

mod fifo;
mod signals;
mod site;
mod stop;
mod thread;
mod traces;
mod write;

mod publication;
mod recorder;
mod text;
mod trouble;

mod builder;
mod error;
mod exit;
mod fork;
mod handle;
mod once;
mod pages;

pub use builder::RecorderBuilder;
pub use dir::{DirError, PipeDir};
pub use error::Error;
pub use fork::follow_forks;
pub use handle::Recorder;
pub use once::start_once;
