#![doc = include_str!("../README.md")]
#![cfg_attr(not(feature = "posix"), no_std)]
#![deny(unsafe_code)]

#[cfg(feature = "posix")]
mod fork;
#[cfg(feature = "posix")]
mod global;
mod macros;
#[cfg(feature = "posix")]
mod publish;

#[cfg(feature = "posix")]
pub use global::{
    GLOBAL, GlobalRegistry, counter, gauge, get, incr, record, record_with, series, set, try_incr,
    try_record, try_record_with, try_set,
};
#[cfg(feature = "posix")]
pub use publish::{start_recorder, start_recorder_in};
#[cfg(feature = "json")]
pub use statvent_core::json;
pub use statvent_core::{
    Counter, DEFAULT_QUANTILES, Gauge, IntoValue, MEAN_LABEL, Quantile, Reader, RecordError, Registry,
    Series, Snapshot, Value, ValueError, WINDOW_SAMPLES, line, name,
};
#[cfg(feature = "posix")]
pub use statvent_posix::{Error, Recorder, RecorderBuilder, pipe_name, reset_on_fork};

/// Items that the macros expand to.
#[doc(hidden)]
pub mod __private {
    pub use statvent_core::{CallSite, literal_name, literal_template};
}
