//! Serves the sums of a pipe directory over HTTP/1.1.
//!
//! Owns the service as a whole: accepting, limits and draining (`server`), paths (`routes`), who may ask (`host`), and
//! one collection for all who wait (`answers`). It must not read pipes or sum. Called by the binary and by tests.

mod answers;
mod host;
mod race;
mod routes;
mod server;

pub use server::{Config, ServeError, Service, serve};
