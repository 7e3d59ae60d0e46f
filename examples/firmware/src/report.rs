//! The report of the firmware: its stats, its failed checks and its exit status.
//!
//! Owns the emulator's console. Lines of stats are written to standard output, everything else to standard error.

use cortex_m_semihosting::debug::{self, EXIT_FAILURE, EXIT_SUCCESS};
use cortex_m_semihosting::hio;
use statvent::Reader;

use crate::stats::N_BY_TICK;

/// The result of the checks so far.
pub(crate) struct Report {
    is_passed: bool,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { is_passed: true }
    }

    /// Prints the requirement if it does not hold.
    pub(crate) fn check(&mut self, holds: bool, requirement: &str) {
        if !holds {
            self.is_passed = false;
            print_error(b"failed: ");
            print_error(requirement.as_bytes());
            print_error(b"\n");
        }
    }

    /// Waits until `is_done` holds, for at most four times the interrupts of the whole count.
    pub(crate) fn wait_until(&mut self, is_done: impl Fn() -> bool) {
        let mut n_left = 4 * N_BY_TICK;
        while !is_done() && n_left > 0 {
            cortex_m::asm::wfi();
            n_left -= 1;
        }
        self.check(is_done(), "the interrupt finishes its task in time");
    }

    /// Prints the stats line by line through a buffer of 64 bytes.
    pub(crate) fn print_lines<'r>(&mut self, stats: impl Into<Reader<'r>>) {
        let mut snapshot = stats.into().snapshot();
        let mut buffer = [0; 64];
        let Ok(mut output) = hio::hstdout() else { return self.check(false, "the output opens") };
        while let Ok(n_bytes @ 1..) = snapshot.fill(&mut buffer) {
            let written = output.write_all(&buffer[..n_bytes]);
            self.check(written.is_ok(), "the output takes a line");
        }
        self.check(snapshot.fill(&mut buffer) == Ok(0), "every line fits the buffer");
    }

    pub(crate) fn print_json<'r>(&mut self, stats: impl Into<Reader<'r>>) {
        let mut buffer = [0; 512];
        match stats.into().write_json(&mut buffer) {
            Ok(n_bytes) => print_error(&buffer[..n_bytes]),
            Err(_) => self.check(false, "the JSON fits its buffer"),
        }
    }

    /// Ends the emulator with status 0 if all checks passed, else with 1.
    pub(crate) fn exit(self) -> ! {
        debug::exit(if self.is_passed { EXIT_SUCCESS } else { EXIT_FAILURE });
        loop {
            cortex_m::asm::wfi();
        }
    }
}

fn print_error(bytes: &[u8]) {
    if let Ok(mut output) = hio::hstderr() {
        // There is no other output to report a failed write to.
        let _ = output.write_all(bytes);
    }
}
