//! Lines on standard error.
//!
//! Failed writes are ignored: a closed or full standard error must not end the service.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write as _};

use statvent_web::ErrorChain;

/// Prints an error and its causes in one line.
pub(crate) fn print_error(err: &dyn Error) {
    log_line(format_args!("statvent-web: {}", ErrorChain(err)));
}

/// Prints one line.
pub(crate) fn log_line(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
