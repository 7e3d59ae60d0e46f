//! Serves the sums of a pipe directory over HTTP/1.1.
//!
//! Owns the service as a whole: accepting, limits and draining (`server`, `write_deadline`), paths (`routes`), who may
//! ask (`host`), one collection for all who wait (`answers`), and which troubles are news (`reports`). It must not read
//! pipes or sum. Called by the binary and by tests.

mod answers;
mod host;
mod race;
mod reports;
mod routes;
mod server;
mod write_deadline;

pub use server::{Config, ServeError, Service};
