//! A race between first uses: `main` and the interrupt register the same names at the same time.
//!
//! Owns fresh registries, what both sides do with each, and the check of the exact result.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

use statvent::{Registry, Value};

use crate::report::Report;

/// Fresh registries, used one after the other.
static REGISTRIES: [Registry<64, 1, 192>; 4] = [const { Registry::new() }; 4];

/// The number of names that both sides register. For each of them, each side also registers one name of its own.
const N_NAMES: u8 = 20;

/// A series that both sides write, and the number of samples of each side: together at most a window, so that no sample
/// leaves it.
const SERIES: &str = "samples.{0}";
const N_SAMPLES: u8 = 40;

/// How often `main` uses an invalid name.
const N_INVALID_NAMES: u32 = 1_000;

/// Written by `main`: the current registry, the task of the interrupt, and the current name.
static REGISTRY: AtomicU8 = AtomicU8::new(0);
static TASK: AtomicU8 = AtomicU8::new(IDLE);
static NAME: AtomicU8 = AtomicU8::new(0);

const IDLE: u8 = 0;
const REGISTER: u8 = 1;
const SAMPLE: u8 = 2;
const REJECT: u8 = 3;

/// Written by the interrupt: how often it used each name, and its number of samples and of invalid names.
static N_USED: [AtomicU32; N_NAMES as usize] = [const { AtomicU32::new(0) }; N_NAMES as usize];
static N_SAMPLED: AtomicU8 = AtomicU8::new(0);
static N_INVALID: AtomicU32 = AtomicU32::new(0);

/// Runs `main`'s side, and checks both sides.
pub(crate) fn run(report: &mut Report) {
    for (idx, registry) in (0..).zip(&REGISTRIES) {
        REGISTRY.store(idx, Relaxed);
        N_USED.iter().for_each(|n_used| n_used.store(0, Relaxed));
        N_SAMPLED.store(0, Relaxed);
        N_INVALID.store(0, Relaxed);

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
        report.wait_until(|| N_SAMPLED.load(Relaxed) == N_SAMPLES);
        TASK.store(REJECT, Relaxed);
        for _ in 0..N_INVALID_NAMES {
            registry.incr("", 1);
        }
        TASK.store(IDLE, Relaxed);
        check(report, registry);
    }
}

/// Runs one step of the interrupt's side.
pub(crate) fn step() {
    let Some(registry) = REGISTRIES.get(usize::from(REGISTRY.load(Relaxed))) else { return };
    match TASK.load(Relaxed) {
        REGISTER => {
            let n = NAME.load(Relaxed);
            registry.incr(name(b's', n), 1);
            registry.incr(name(b'i', n), 1);
            if let Some(n_used) = N_USED.get(usize::from(n)) {
                n_used.store(n_used.load(Relaxed) + 1, Relaxed);
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
            N_INVALID.store(N_INVALID.load(Relaxed) + 1, Relaxed);
        }
        _ => (),
    }
}

/// Returns the name of a stat: a letter and a number.
fn name(letter: u8, n: u8) -> [u8; 3] {
    [letter, b'0' + n / 10, b'0' + n % 10]
}

fn check<const STATS: usize, const SERIES: usize, const NAME_BYTES: usize>(
    report: &mut Report,
    registry: &Registry<STATS, SERIES, NAME_BYTES>,
) {
    let mut n_stats = 0;
    for (n, n_used) in (0..).zip(&N_USED) {
        let n_used = i64::from(n_used.load(Relaxed));
        let by_tick = (n_used > 0).then_some(Value::Int(n_used));
        n_stats += 2 + u32::from(n_used > 0);
        report.check(registry.get(name(b'm', n)) == Some(Value::Int(1)), "main's own name has its increment");
        report.check(registry.get(name(b'i', n)) == by_tick, "the interrupt's own name has its increments");
        let by_both = Some(Value::Int(1 + n_used));
        report.check(registry.get(name(b's', n)) == by_both, "a name has the increments of both");
    }
    // The samples are 1 to 80. If one is missing or recorded twice, the mean differs.
    let samples = [("median", 40.0), ("95th", 76.0), ("99th", 79.0), ("100th", 80.0), ("mean", 40.5)];
    let n_rejected = N_INVALID_NAMES + N_INVALID.load(Relaxed);
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
    report.check(samples_left.next().is_none(), "the series is complete");
    report.check(n_found == n_stats + 5 + 1, "every name occurs once");
    report.check(registry.rejected() == n_rejected.into(), "rejected values are counted");
    let n_raced = N_USED.iter().filter(|n_used| n_used.load(Relaxed) > 0).count();
    report.check(4 * n_raced > usize::from(N_NAMES), "the interrupt ran while main registered many names");
    report.check(
        N_INVALID.load(Relaxed) > N_INVALID_NAMES / 2,
        "the interrupt ran while main used invalid names",
    );
}
