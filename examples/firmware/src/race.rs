//! First uses at the same moment: `main` and the interrupt take the same names of a registry that has none of them yet.
//!
//! Owns the registries, what both do to each, and what has to be there afterwards, exactly. Called by `main`, and by
//! `tick` for the interrupt's part.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

use statvent::{Registry, Value};

use crate::report::Report;
use crate::tick;

/// Fresh registries, one raced on after the other.
static REGISTRIES: [Registry<64, 1, 192>; 4] = [const { Registry::new() }; 4];

/// Names that both take. For each there is one of `main`'s alone, and one of the interrupt's alone.
const N_NAMES: u8 = 20;

/// A series that both take, and how many samples each gives: together as many as a window holds, or fewer, so that none
/// of them leaves it.
const SERIES: &str = "samples.{0}";
const N_SAMPLES: u8 = 40;

/// How often `main` gives a name that is none.
const N_BAD_NAMES: u32 = 1_000;

/// Written by `main`: the registry that is raced on, what is done to it, and the name that `main` is at.
static REGISTRY: AtomicU8 = AtomicU8::new(0);
static TASK: AtomicU8 = AtomicU8::new(REST);
static NAME: AtomicU8 = AtomicU8::new(0);

const REST: u8 = 0;
const REGISTER: u8 = 1;
const SAMPLE: u8 = 2;
const REJECT: u8 = 3;

/// Written by the interrupt while it has a task: how often it took each name, how many samples and bad names it gave.
static N_TAKEN: [AtomicU32; N_NAMES as usize] = [const { AtomicU32::new(0) }; N_NAMES as usize];
static N_SAMPLED: AtomicU8 = AtomicU8::new(0);
static N_BAD: AtomicU32 = AtomicU32::new(0);

/// `main`'s part, and the check of both.
pub(crate) fn run(report: &mut Report) {
    for (idx, registry) in (0..).zip(&REGISTRIES) {
        REGISTRY.store(idx, Relaxed);
        N_TAKEN.iter().for_each(|n_taken| n_taken.store(0, Relaxed));
        N_SAMPLED.store(0, Relaxed);
        N_BAD.store(0, Relaxed);

        for n in 0..N_NAMES {
            NAME.store(n, Relaxed);
            TASK.store(REGISTER, Relaxed);
            registry.incr(name(b's', n), 1);
            registry.incr(name(b'm', n), 1);
        }
        TASK.store(SAMPLE, Relaxed);
        for sample in 1..=N_SAMPLES {
            registry.record(SERIES, sample);
        }
        tick::wait_for(report, || N_SAMPLED.load(Relaxed) == N_SAMPLES);
        TASK.store(REJECT, Relaxed);
        for _ in 0..N_BAD_NAMES {
            registry.incr("", 1);
        }
        TASK.store(REST, Relaxed);
        check(report, registry);
    }
}

/// The interrupt's part.
pub(crate) fn tick() {
    let Some(registry) = REGISTRIES.get(usize::from(REGISTRY.load(Relaxed))) else { return };
    match TASK.load(Relaxed) {
        REGISTER => {
            let n = NAME.load(Relaxed);
            registry.incr(name(b's', n), 1);
            registry.incr(name(b'i', n), 1);
            if let Some(n_taken) = N_TAKEN.get(usize::from(n)) {
                n_taken.store(n_taken.load(Relaxed) + 1, Relaxed);
            }
        }
        SAMPLE => {
            let n_sampled = N_SAMPLED.load(Relaxed);
            if n_sampled < N_SAMPLES {
                N_SAMPLED.store(n_sampled + 1, Relaxed);
                registry.record(SERIES, N_SAMPLES + n_sampled + 1);
            }
        }
        REJECT => {
            registry.incr("", 1);
            N_BAD.store(N_BAD.load(Relaxed) + 1, Relaxed);
        }
        _ => (),
    }
}

/// The name of a stat: a letter and a number.
fn name(letter: u8, n: u8) -> [u8; 3] {
    [letter, b'0' + n / 10, b'0' + n % 10]
}

fn check<const STATS: usize, const SERIES: usize, const NAME_BYTES: usize>(
    report: &mut Report,
    registry: &Registry<STATS, SERIES, NAME_BYTES>,
) {
    let mut n_stats = 0;
    for (n, n_taken) in (0..).zip(&N_TAKEN) {
        let n_taken = i64::from(n_taken.load(Relaxed));
        let by_tick = (n_taken > 0).then_some(Value::Int(n_taken));
        n_stats += 2 + u32::from(n_taken > 0);
        report.check(registry.get(name(b'm', n)) == Some(Value::Int(1)), "main's own name has its increment");
        report.check(registry.get(name(b'i', n)) == by_tick, "the interrupt's own name has its increments");
        let by_both = Some(Value::Int(1 + n_taken));
        report.check(registry.get(name(b's', n)) == by_both, "a name has the increments of both");
    }
    // All of 1 to 80 are there: one less, or one of them twice, is another mean.
    let samples = [("median", 40.0), ("95th", 76.0), ("99th", 79.0), ("100th", 80.0), ("mean", 40.5)];
    let n_rejected = N_BAD_NAMES + N_BAD.load(Relaxed);
    let (mut n_found, mut samples_left) = (0, samples.iter());
    registry.for_each(|name, value| {
        n_found += 1;
        if let Some(label) = name.strip_prefix(b"samples.") {
            let is_next = samples_left
                .next()
                .is_some_and(|(next, expected)| label == next.as_bytes() && value == Value::Float(*expected));
            report.check(is_next, "the series has the samples of both");
        }
    });
    report.check(samples_left.next().is_none(), "the series is there");
    report.check(n_found == n_stats + 5 + 1, "every name is there once");
    report.check(registry.rejected() == n_rejected.into(), "what was rejected is counted");
    let n_met = N_TAKEN.iter().filter(|n_taken| n_taken.load(Relaxed) > 0).count();
    report.check(4 * n_met > usize::from(N_NAMES), "the interrupt came while main registered many names");
    report.check(N_BAD.load(Relaxed) > N_BAD_NAMES / 2, "the interrupt came while bad names were rejected");
}
