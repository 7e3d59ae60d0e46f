//! Recorders: the threads that publish a registry, and the endpoint that they share.

pub(crate) mod builder;
pub(crate) mod endpoint;
pub(crate) mod failure_log;
pub(crate) mod global;
pub(crate) mod handle;
pub(crate) mod pipe_slot;
pub(crate) mod retired;
pub(crate) mod serve_loop;
pub(crate) mod snapshot_buf;
