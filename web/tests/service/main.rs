//! Tests of the service from outside: real pipes, real processes, real HTTP.
//!
//! One file per topic; shared helpers are in `support`. Every wait has a deadline, every port is free, every directory is
//! temporary.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, as tests may")]

mod support;

mod binary;
mod bridge;
mod dead_pipes;
mod demo;
mod descriptors;
mod hostile_directory;
mod hostile_writers;
mod http;
mod http_faults;
mod liveness;
mod many_readers;
mod memory;
mod namespaces;
mod original_reader;
mod owners;
mod silent_processes;
mod single_flight;
mod sums;
mod unlocked_readers;
mod unpublished_processes;
