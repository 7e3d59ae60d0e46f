//! Lines on standard error.
//!
//! A standard error that is closed or full of errors itself is no reason to end: failures to write are ignored.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write as _};

/// Prints an error with its causes.
pub(crate) fn print_error(err: &dyn Error) {
    let mut text = format!("statvent-web: {err}");
    let mut cause = err.source();
    while let Some(err) = cause {
        text += &format!(": {err}");
        cause = err.source();
    }
    log_line(text);
}

/// Prints one line.
pub(crate) fn log_line(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
