//! What the program says, and how it ends.
//!
//! Owns the emulator's console: lines of stats go to standard output, everything else to standard error. Called by
//! `main` and by what has to be checked.

use cortex_m_semihosting::debug::{self, EXIT_FAILURE, EXIT_SUCCESS};
use cortex_m_semihosting::hio;
use statvent::Reader;

/// What was found so far.
pub(crate) struct Report {
    is_good: bool,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { is_good: true }
    }

    /// Says what should have been, where it is not.
    pub(crate) fn check(&mut self, holds: bool, what: &str) {
        if !holds {
            self.is_good = false;
            say(b"failed: ");
            say(what.as_bytes());
            say(b"\n");
        }
    }

    /// Prints the stats line by line through a buffer of 64 bytes.
    pub(crate) fn print_lines<'r>(&mut self, stats: impl Into<Reader<'r>>) {
        let mut snapshot = stats.into().snapshot();
        let mut buffer = [0; 64];
        let Ok(mut output) = hio::hstdout() else { return self.check(false, "there is an output") };
        while let Ok(n_bytes @ 1..) = snapshot.fill(&mut buffer) {
            let written = output.write_all(&buffer[..n_bytes]);
            self.check(written.is_ok(), "the output takes a line");
        }
        self.check(snapshot.fill(&mut buffer) == Ok(0), "every line fits the buffer");
    }

    pub(crate) fn print_json<'r>(&mut self, stats: impl Into<Reader<'r>>) {
        let mut buffer = [0; 512];
        match stats.into().write_json(&mut buffer) {
            Ok(n_bytes) => say(&buffer[..n_bytes]),
            Err(_) => self.check(false, "the JSON fits its buffer"),
        }
    }

    /// Ends the emulator with status 0 if everything was as it should be, else with 1.
    pub(crate) fn exit(self) -> ! {
        debug::exit(if self.is_good { EXIT_SUCCESS } else { EXIT_FAILURE });
        loop {
            cortex_m::asm::wfi();
        }
    }
}

fn say(bytes: &[u8]) {
    if let Ok(mut output) = hio::hstderr() {
        // Nobody is left to be told.
        let _ = output.write_all(bytes);
    }
}
