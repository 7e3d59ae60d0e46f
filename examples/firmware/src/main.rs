//! A firmware whose `main` and interrupt write the same stats, with a check that no count is lost.
//!
//! Prints the stats by the emulator's semihosting: as lines on standard output and as JSON on standard error. Checks its
//! own totals, and exits with status 0 if all are exact. `bin/firmware` runs it on three boards. The interrupt is `tick`'s,
//! the race between first uses is `race`'s.

#![no_std]
#![no_main]

mod race;
mod report;
mod stats;
mod tick;

use cortex_m::peripheral::Peripherals;
use cortex_m_rt::{entry, exception};
use statvent::{Value, incr, record, set};

use report::Report;
use stats::{LEVELS, N_BY_TICK, N_INCREMENTS, STATS};

#[entry]
fn main() -> ! {
    let mut report = Report::new();
    if let Some(peripherals) = Peripherals::take() {
        let mut timer = peripherals.SYST;
        tick::start(&mut timer);
        race::run(&mut report);
        count(&mut report);
        tick::wait_until_counted(&mut report);
        timer.disable_counter();
    }
    check_totals(&mut report);
    set!(STATS, "level", 7);
    for sample in 1..=100 {
        record!(STATS, "latency.{0}", sample);
    }
    report.print_lines(&STATS);
    report.print_json(&STATS);
    report.exit()
}

#[exception]
fn SysTick() {
    tick::handle();
}

/// Counts, sets and samples the same stats as the interrupt, by literal names and by handles.
fn count(report: &mut Report) {
    tick::start_counting();
    let hammered = STATS.counter_literal("hammered");
    for n in 0..N_INCREMENTS - N_BY_TICK {
        if n % 2 == 0 {
            incr!(STATS, "hammered");
        } else {
            hammered.incr(1);
        }
        if n % 16 == 0 {
            incr!(STATS, "halves", 0.5);
            set!(STATS, "level", LEVELS[0]);
            record!(STATS, "latency.{0}", 1);
            let level = STATS.get("level");
            report.check(LEVELS.iter().any(|known| level == Some(Value::Int(*known))), "no value is torn");
        }
    }
    incr!(STATS, "loops", N_INCREMENTS - N_BY_TICK);
}

fn check_totals(report: &mut Report) {
    let total = i64::from(N_INCREMENTS) + i64::from(cfg!(feature = "one-too-many"));
    let halves = f64::from((N_INCREMENTS - N_BY_TICK).div_ceil(16) + N_BY_TICK) / 2.0;
    report.check(STATS.get("hammered") == Some(Value::Int(total)), "no increment is lost");
    report.check(STATS.get("ticks") == Some(Value::Int(N_BY_TICK.into())), "every tick is counted");
    report.check(STATS.get("halves") == Some(Value::Float(halves)), "no float is lost");
    report.check(STATS.rejected() == 0, "nothing was rejected");
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    let mut report = Report::new();
    report.check(false, "the program does not panic");
    report.exit()
}
