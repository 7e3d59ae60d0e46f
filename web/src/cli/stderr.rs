//! Lines on standard error.
//!
//! A standard error that is closed or full of errors itself is no reason to end: failures to write are ignored.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write as _};

use statvent_web::collect::ErrorChain;

/// Prints an error with its causes.
pub(crate) fn print_error(err: &dyn Error) {
    log_line(format_args!("statvent-web: {}", ErrorChain(err)));
}

/// Prints one line.
pub(crate) fn log_line(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
