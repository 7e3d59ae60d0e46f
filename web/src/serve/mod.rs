//! Serves the sums of a pipe directory over HTTP/1.1.
//!
//! Owns the service as a whole: accepting and draining (`server`), one connection and its time limit (`connection`), paths
//! (`routes`), allowed hosts (`host`), one scrape for all that wait (`answers`), the memory of untaken bodies (`body`), what
//! a panic costs (`panics`), and which troubles are news (`reports`). It must not read pipes or sum.

mod answers;
mod body;
mod connection;
mod host;
mod panics;
mod reports;
mod routes;
mod server;

pub use server::{Config, ServeError, Service};
