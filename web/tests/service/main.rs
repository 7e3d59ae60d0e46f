//! Tests of the service from outside: real pipes, real processes, real HTTP.
//!
//! One file a topic; what they share is in `support`. Nothing here waits without a deadline, uses a fixed port, or
//! works outside a temporary directory of its own.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of tests may panic, as a test may")]

mod support;

mod binary;
mod bridge;
mod dead_pipes;
mod death;
mod demo;
mod descriptors;
mod foreign_readers;
mod hostile_directory;
mod hostile_writers;
mod http;
mod http_faults;
mod late_processes;
mod many_readers;
mod memory;
mod namespaces;
mod original_reader;
mod owners;
mod recorders_in_trouble;
mod sharing;
mod sums;
