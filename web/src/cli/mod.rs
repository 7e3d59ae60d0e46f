//! The command line of the binary.
//!
//! `dispatch` holds the table of subcommands, `args` the options that they share, and `error` their messages. Each
//! subcommand has its own file or folder. Without a subcommand, the binary serves.

mod args;
mod bridge;
mod demo;
mod dispatch;
mod error;
mod limits;
#[allow(unsafe_code, reason = "no safe function configures the allocator")]
mod malloc;
mod serve;
mod shutdown;
mod stderr;

pub(crate) use dispatch::parse;
pub(crate) use stderr::print_error;
