//! The binary `statvent-web`: runs what the command line asks for, prints errors and sets the exit status.
//!
//! Owns the exit status: 0, 1 if it cannot run, 2 for a command line that is not understood.

#![deny(unsafe_code)]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    let (result, status) = match cli::parse(std::env::args_os().skip(1)) {
        Ok(run) => (run(), 1),
        Err(err) => (Err(err), 2),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            cli::stderr::print_error(&*err);
            ExitCode::from(status)
        }
    }
}
