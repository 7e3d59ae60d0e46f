//! Serves the sums of a pipe directory over HTTP/1.1.
//!
//! Owns the service as a whole: accepting and draining (`server`), limits (`connection`, `places`, `write_deadline`,
//! `body`), paths (`routes`), who may ask (`host`), one collection for all who wait (`answers`), what becomes of a panic
//! (`panics`), and which troubles are news (`reports`). It must not read pipes or sum. Called by the binary and by tests.

mod answers;
mod body;
mod connection;
mod host;
mod panics;
mod places;
mod race;
mod reports;
mod routes;
mod server;
mod write_deadline;

pub use server::{Config, ServeError, Service};
