//! The timer interrupt: its schedule, its counts, and how `main` waits for it.
//!
//! Owns the times of the interrupt, and the stats that it counts, sets and samples at any point of `main`. First uses are
//! `race`'s.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use cortex_m::peripheral::{SCB, SYST, syst::SystClkSource};
use statvent::{incr, record, set};

use crate::race;
use crate::report::Report;
use crate::stats::{LEVELS, N_BY_TICK, STATS};

/// Written by `main`: whether the interrupt counts.
static IS_COUNTING: AtomicBool = AtomicBool::new(false);

/// Written by the interrupt: how often it counted.
static N_COUNTED: AtomicU32 = AtomicU32::new(0);

pub(crate) fn start(timer: &mut SYST) {
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(MIN_TICKS);
    timer.clear_current();
    timer.enable_interrupt();
    timer.enable_counter();
}

pub(crate) fn start_counting() {
    IS_COUNTING.store(true, Ordering::Relaxed);
}

pub(crate) fn wait_until_counted(report: &mut Report) {
    report.wait_until(|| N_COUNTED.load(Ordering::Relaxed) == N_BY_TICK);
}

/// Handles one interrupt.
pub(crate) fn handle() {
    if IS_COUNTING.load(Ordering::Relaxed) {
        count();
    } else {
        race::step();
    }
    schedule_next();
}

fn count() {
    let n = N_COUNTED.load(Ordering::Relaxed);
    if n < N_BY_TICK {
        incr!(STATS, "hammered");
        incr!(STATS, "ticks");
        incr!(STATS, "halves", 0.5);
        set!(STATS, "level", LEVELS[1]);
        record!(STATS, "latency.{0}", 2);
        N_COUNTED.store(n + 1, Ordering::Relaxed);
    }
}

/// The shortest time from the end of one interrupt to the next, in ticks of the processor's clock.
const MIN_TICKS: u32 = 50;

/// Sets the time to the next interrupt. The pseudo-random times hit every instruction of `main`'s loops at some point: most
/// are short, and some are as long as a first use takes.
fn schedule_next() {
    static STEP: AtomicU32 = AtomicU32::new(0);
    let step = STEP.load(Ordering::Relaxed).wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    STEP.store(step, Ordering::Relaxed);
    let n_more = (step >> 8) % (64 << (step >> 29));
    // SAFETY: after `main` has started the timer, only this handler uses the reload value.
    let timer = unsafe { &*SYST::PTR };
    // SAFETY: any value of 24 bits is a valid time.
    unsafe { timer.rvr.write(MIN_TICKS + n_more) };
    // SAFETY: writing any value restarts the timer.
    unsafe { timer.cvr.write(0) };
    // The handler may have run longer than the last time; drop an interrupt that is pending for that reason.
    SCB::clear_pendst();
}
