#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod error;
mod limits;
mod sys;

pub mod dir;
pub mod liveness;
mod pipe;
mod process;
mod recorder;

pub use dir::PipeDir;
pub use error::{DirError, Error};
pub use limits::MAX_LISTED_NAMES;
pub use pipe::{hidden_name, name as pipe_name, remove};
pub use process::fork::reset_on_fork;
pub use recorder::builder::RecorderBuilder;
pub use recorder::global::start_global;
pub use recorder::handle::Recorder;
pub use sys::stat;
