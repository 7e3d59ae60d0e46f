//! The timer's interrupt, and how `main` knows how far it is.
//!
//! Owns when the interrupt comes, and what it counts, sets and samples there, wherever `main` is. Called by the timer and
//! by `main`. First uses are `race`'s.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use cortex_m::peripheral::{SCB, SYST, syst::SystClkSource};
use statvent::{incr, record, set};

use crate::report::Report;
use crate::{LEVELS, N_BY_TICK, STATS, race};

/// Written by `main`: whether the interrupt counts.
static IS_COUNTING: AtomicBool = AtomicBool::new(false);

/// Written by the interrupt: how often it counted.
static N_COUNTED: AtomicU32 = AtomicU32::new(0);

pub(crate) fn start(timer: &mut SYST) {
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(SHORTEST);
    timer.clear_current();
    timer.enable_interrupt();
    timer.enable_counter();
}

pub(crate) fn count_from_now_on() {
    IS_COUNTING.store(true, Ordering::Relaxed);
}

pub(crate) fn wait_until_counted(report: &mut Report) {
    wait_for(report, || N_COUNTED.load(Ordering::Relaxed) == N_BY_TICK);
}

/// Waits at most for many times as many interrupts as it should take.
pub(crate) fn wait_for(report: &mut Report, is_done: impl Fn() -> bool) {
    let mut n_left = 4 * N_BY_TICK;
    while !is_done() && n_left > 0 {
        cortex_m::asm::wfi();
        n_left -= 1;
    }
    report.check(is_done(), "the interrupt gets done what it has to");
}

/// One interrupt.
pub(crate) fn tick() {
    if IS_COUNTING.load(Ordering::Relaxed) {
        count();
    } else {
        race::tick();
    }
    come_again();
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

/// Ticks of the processor's clock that are the shortest time from the end of one interrupt to the next.
const SHORTEST: u32 = 50;

/// Sets the time to the next interrupt, in steps that hit every instruction of `main`'s loops sooner or later: mostly
/// short ones, and some that are as long as a first use takes.
fn come_again() {
    static STEP: AtomicU32 = AtomicU32::new(0);
    let step = STEP.load(Ordering::Relaxed).wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    STEP.store(step, Ordering::Relaxed);
    let n_more = (step >> 8) % (64 << (step >> 29));
    // SAFETY: the reload value belongs to this handler alone from the moment on that `main` has started the timer.
    let timer = unsafe { &*SYST::PTR };
    // SAFETY: any value of 24 bits is a time to wait.
    unsafe { timer.rvr.write(SHORTEST + n_more) };
    // SAFETY: any value written here begins that time now, whatever it is.
    unsafe { timer.cvr.write(0) };
    // This handler may have taken longer than the time before.
    SCB::clear_pendst();
}
