//! The subcommand `bridge`: publishes the stats of a board beside those of processes.
//!
//! `command` holds its options and its order of start and end, `input` reads the bytes, and `ingest` makes stats of them.

mod command;
mod ingest;
mod input;

pub(crate) use command::BRIDGE;
