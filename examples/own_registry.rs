//! A program with its own registry, as on a microcontroller: no heap, no thread, a small text buffer.
//!
//! On a microcontroller, `print` would write to a UART.

use statvent::line::{BufferTooSmall, MAX_OWN_LINE_BYTES};
use statvent::{Registry, incr, record, set};

/// 16 stats and one series. All names are literals, which take no memory of the registry.
static STATS: Registry<16, 1, 0> = Registry::new();

fn main() -> Result<(), BufferTooSmall> {
    for tick in 0..100 {
        incr!(STATS, "ticks");
        set!(STATS, "temperature", 20.0 + f64::from(tick % 10) / 10.0);
        record!(STATS, "loop.{0}.us", 100 + tick);
    }

    let mut snapshot = STATS.snapshot();
    let mut lines = [0; MAX_OWN_LINE_BYTES];
    loop {
        match snapshot.fill(&mut lines)? {
            0 => return Ok(()),
            n_bytes => print(&lines[..n_bytes]),
        }
    }
}

fn print(lines: &[u8]) {
    print!("{}", String::from_utf8_lossy(lines));
}
