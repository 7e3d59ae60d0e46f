//! Tests of a whole recorder, read as any program would read it.
//!
//! Each module is a topic. What a process has once (user, umask, threads, exit) is tested in a process of its own, see
//! `support::alone`.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod support;

mod ends;
mod exactness;
mod faults;
mod forks;
mod hard_readers;
mod idle;
mod in_trouble;
mod mending;
mod names;
mod namespaces;
mod no_proc;
mod once;
mod reads;
mod signals;
mod stopping;
mod taken_away;
