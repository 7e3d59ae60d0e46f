//! The HTTP/1.1 service that serves the sums of a pipe directory.
//!
//! `server` accepts and drains connections, `connection` serves one of them, and `routes` and `host_check` handle its
//! requests. `collector_thread` scrapes once for all waiting requests. `memory_budget` bounds the bodies that clients have
//! not received, `panics` limits a panic to one answer, and `warning_filter` reports each warning once. Nothing here
//! reads pipes or sums stats.

mod collector_thread;
mod connection;
mod error;
mod host_check;
mod memory_budget;
mod panics;
mod routes;
mod server;
mod warning_filter;

pub use error::ServeError;
pub use server::{Config, Service};
