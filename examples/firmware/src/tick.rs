//! What happens in the interrupt, and how `main` knows how far it is.
//!
//! Owns the timer's handler: it registers, counts, sets and samples at moments that vary, wherever `main` is. Called by
//! the timer and by `main`.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use cortex_m::peripheral::SYST;
use statvent::{incr, record, set};

use crate::report::Report;
use crate::{LEVELS, N_BY_TICK, N_NAMES, NAMES, STATS};

/// Ticks of the processor's clock until the first interrupt.
pub(crate) const FIRST_RELOAD: u32 = 2_000;

/// Written by `main`: what the interrupt does.
static PHASE: AtomicU8 = AtomicU8::new(WAITING);
const WAITING: u8 = 0;
const REGISTERING: u8 = 1;
const COUNTING: u8 = 2;

/// Written by the interrupt: how many names it registered, how often it counted.
static N_REGISTERED: AtomicU8 = AtomicU8::new(0);
static N_COUNTED: AtomicU32 = AtomicU32::new(0);

pub(crate) fn register_from_now_on() {
    PHASE.store(REGISTERING, Ordering::Relaxed);
}

pub(crate) fn count_from_now_on() {
    PHASE.store(COUNTING, Ordering::Relaxed);
}

pub(crate) fn wait_until_registered(report: &mut Report) {
    wait_for(report, || N_REGISTERED.load(Ordering::Relaxed) == N_NAMES);
}

pub(crate) fn wait_until_done(report: &mut Report) {
    wait_for(report, || N_COUNTED.load(Ordering::Relaxed) == N_BY_TICK);
}

/// Waits at most for many times as many interrupts as it should take.
fn wait_for(report: &mut Report, is_done: impl Fn() -> bool) {
    let mut n_left = 4 * N_BY_TICK;
    while !is_done() && n_left > 0 {
        cortex_m::asm::wfi();
        n_left -= 1;
    }
    report.check(is_done(), "the interrupt gets done what it has to");
}

/// The name of a stat: a letter and a number.
pub(crate) fn name(letter: u8, n: u8) -> [u8; 3] {
    [letter, b'0' + n / 10, b'0' + n % 10]
}

/// One interrupt.
pub(crate) fn tick() {
    match PHASE.load(Ordering::Relaxed) {
        REGISTERING => register(),
        COUNTING => count(),
        _ => (),
    }
    come_again();
}

fn register() {
    let n = N_REGISTERED.load(Ordering::Relaxed);
    if n < N_NAMES {
        NAMES.incr(name(b's', n), 1);
        NAMES.incr(name(b'i', n), 1);
        N_REGISTERED.store(n + 1, Ordering::Relaxed);
    }
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

/// Sets the time to the next interrupt, in steps that hit every instruction of `main`'s loops sooner or later.
fn come_again() {
    static STEP: AtomicU32 = AtomicU32::new(0);
    let step = STEP.load(Ordering::Relaxed).wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    STEP.store(step, Ordering::Relaxed);
    // SAFETY: the reload value belongs to this handler alone from the moment on that `main` has started the timer.
    let timer = unsafe { &*SYST::PTR };
    // SAFETY: any value of 24 bits is a time to wait.
    unsafe { timer.rvr.write(FIRST_RELOAD + (step >> 23)) };
}
