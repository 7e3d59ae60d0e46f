//! Tests of a whole recorder, read as any program would read it.
//!
//! Each module is a topic. What a process has once (user, umask, threads, exit) is tested in a process of its own, see
//! `support::alone`.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod support;

mod exactness;
mod faults;
mod forks;
mod global;
mod idle;
mod lock_byte;
mod names;
mod namespaces;
mod no_proc;
mod process_exit;
mod reads;
mod repair;
mod shutdown;
mod signals;
mod slow_readers;
mod stranded_readers;
