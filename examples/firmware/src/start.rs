//! The program of the core's README: it counts in `main` and in an interrupt, and prints all stats.
#![no_std]
#![no_main]

use cortex_m::peripheral::{Peripherals, syst::SystClkSource};
use cortex_m_rt::{entry, exception};
use cortex_m_semihosting::{debug, hio};
use panic_halt as _;
use statvent::{Registry, Value, incr, set};

static STATS: Registry<16, 0, 0> = Registry::new();

#[exception]
fn SysTick() {
    incr!(STATS, "ticks");
}

#[entry]
fn main() -> ! {
    if let Some(Peripherals { mut SYST, .. }) = Peripherals::take() {
        SYST.set_clock_source(SystClkSource::Core);
        SYST.set_reload(10_000);
        SYST.enable_interrupt();
        SYST.enable_counter();
    }
    while !matches!(STATS.get("ticks"), Some(Value::Int(100..))) {
        incr!(STATS, "rounds");
    }
    set!(STATS, "state", 2);
    let (mut snapshot, mut line) = (STATS.snapshot(), [0; 64]);
    while let (Ok(n_bytes @ 1..), Ok(mut uart)) = (snapshot.fill(&mut line), hio::hstdout()) {
        uart.write_all(&line[..n_bytes]).ok();
    }
    debug::exit(debug::EXIT_SUCCESS);
    loop {}
}
