//! The binary `statvent-web`: runs the command line, prints errors, and sets the exit status.
//!
//! The exit status is 0, 1 if the subcommand fails, and 2 if the command line is not understood.

#![deny(unsafe_code)]

mod cli;

use std::error::Error;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::parse(std::env::args_os().skip(1)) {
        Ok(action) => action().map_or_else(|err| fail(&err, 1), |()| ExitCode::SUCCESS),
        Err(err) => fail(&err, 2),
    }
}

fn fail(err: &dyn Error, status: u8) -> ExitCode {
    cli::print_error(err);
    ExitCode::from(status)
}
