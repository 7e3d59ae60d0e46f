//! Interleaved measurement: each round times every contender once, in rotating order.
//!
//! A round includes each number of threads. This file owns the length of a batch, which rounds count, and the checks that
//! the work was done:
//! - A round whose threads were interrupted, or did not run at the same time, is discarded and counted.
//! - A time that no processor can reach is refused.
//! - At the end, the stats of every contender must equal the sum of its calls.
//!
//! It knows no crate and prints nothing.

use std::fmt;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use crate::allocations::allocations_of;
use crate::contender::{Contender, Measurement, ReadBack};
use crate::inputs::BLOCK_CALLS;
use crate::threads::{Team, ThreadLost, longest, overlap};

/// A thread that ran for less than nine tenths of a batch was interrupted, or the threads did not run at the same time.
const MIN_OVERLAP: f64 = 0.9;

/// 6 attempts per round that counts: on a busy machine most rounds are discarded.
const MAX_ATTEMPTS: usize = 6;

/// 0.05 ns: no processor makes a call and stores its effect in less. A shorter time shows that the compiler removed the
/// loop.
const MIN_NS: f64 = 0.05;

/// The number and length of the rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoundPlan {
    /// Rounds that count, per contender.
    pub(crate) n_rounds: usize,
    /// The time of one contender in one round.
    pub(crate) batch: Duration,
}

/// The times of one contender.
#[derive(Debug, Default)]
pub(crate) struct Timing {
    /// Nanoseconds per unit in each round that counts, of the slowest thread.
    pub(crate) ns_per_unit: Vec<f64>,
    /// Rounds that were discarded because the threads did not run all the time.
    pub(crate) n_discarded: usize,
}

/// Why a measurement is invalid.
#[derive(Debug)]
#[non_exhaustive]
pub(crate) enum MeasureError {
    Lost(ThreadLost),
    TooFast { contender: &'static str, ns: f64 },
    WrongReadBack { contender: &'static str, read_back: ReadBack },
}

impl fmt::Display for MeasureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(lost) => lost.fmt(f),
            Self::TooFast { contender, ns } => {
                write!(
                    f,
                    "{contender} took {ns:.4} ns, expected at least {MIN_NS}: check whether its loop was folded"
                )
            }
            Self::WrongReadBack { contender, read_back: ReadBack { found, expected } } => {
                write!(
                    f,
                    "{contender} reads back {found}, expected {expected}: check whether all its calls were made"
                )
            }
        }
    }
}

impl std::error::Error for MeasureError {}

impl From<ThreadLost> for MeasureError {
    fn from(lost: ThreadLost) -> Self {
        Self::Lost(lost)
    }
}

/// Measures all contenders on each of these numbers of threads. Returns their timings by number of threads, then by
/// contender.
pub(crate) fn time(
    measurement: Measurement,
    contenders: &[Contender],
    n_threads: &[usize],
    plan: RoundPlan,
) -> Result<Vec<Vec<Timing>>, MeasureError> {
    let timings = thread::scope(|scope| {
        let mut cases = Vec::new();
        for n_threads in n_threads {
            let team = Rc::new(Team::start(scope, *n_threads));
            for contender in contenders {
                let n_calls = batch_size(&team, measurement, contender, plan.batch)?;
                cases.push(Case { team: team.clone(), contender, n_calls, timing: Timing::default() });
            }
        }
        // Stops early when every contender has enough rounds that count.
        for round in 0..MAX_ATTEMPTS * plan.n_rounds {
            if cases.iter().all(|case| case.timing.ns_per_unit.len() >= plan.n_rounds) {
                break;
            }
            let n_cases = cases.len();
            for turn in 0..n_cases {
                cases[(round + turn) % n_cases].measure_once()?;
            }
        }
        Ok::<_, MeasureError>(cases.into_iter().map(|case| case.timing).collect::<Vec<_>>())
    })?;
    contenders.iter().try_for_each(check_read_back)?;
    let mut timings = timings.into_iter();
    Ok(n_threads.iter().map(|_| timings.by_ref().take(contenders.len()).collect()).collect())
}

/// One contender on one number of threads.
struct Case<'a> {
    team: Rc<Team<'a>>,
    contender: &'a Contender,
    n_calls: u64,
    timing: Timing,
}

/// Requests to the allocator per call, after the first calls of a contender.
pub(crate) fn allocations(measurement: Measurement, contender: &Contender) -> f64 {
    let n_calls = if measurement == Measurement::Text { 1 } else { BLOCK_CALLS };
    contender.prepare();
    contender.run(n_calls);
    contender.prepare();
    allocations_of(|| contender.run(n_calls)) as f64 / n_calls as f64
}

impl Case<'_> {
    fn measure_once(&mut self) -> Result<(), MeasureError> {
        let Self { team, contender, n_calls, timing } = self;
        let windows = team.batch(contender, *n_calls)?;
        if overlap(&windows) < MIN_OVERLAP {
            timing.n_discarded += 1;
            return Ok(());
        }
        let ns = longest(&windows).as_secs_f64() * 1e9 / (*n_calls as f64 * contender.units_per_call);
        if ns < MIN_NS {
            return Err(MeasureError::TooFast { contender: contender.name, ns });
        }
        timing.ns_per_unit.push(ns);
        Ok(())
    }
}

/// Finds the number of calls that take about `batch`. This also warms everything up.
fn batch_size<'a>(
    team: &Team<'a>,
    measurement: Measurement,
    contender: &'a Contender,
    batch: Duration,
) -> Result<u64, MeasureError> {
    // Samples are fresh only once, so a second text would differ.
    if measurement == Measurement::Text {
        return Ok(1);
    }
    let mut n_calls = BLOCK_CALLS;
    loop {
        let time = undisturbed_time(team, contender, n_calls)?;
        if time >= batch / 4 || n_calls >= 1 << 40 {
            let wanted = n_calls as f64 * batch.as_secs_f64() / time.as_secs_f64();
            return Ok((wanted as u64 / BLOCK_CALLS).max(1) * BLOCK_CALLS);
        }
        n_calls *= 2;
    }
}

/// Returns the time of `n_calls` calls, without an interruption if possible: a batch that is too short overlaps badly.
fn undisturbed_time<'a>(
    team: &Team<'a>,
    contender: &'a Contender,
    n_calls: u64,
) -> Result<Duration, MeasureError> {
    let mut least = Duration::MAX;
    for _ in 0..MAX_ATTEMPTS {
        let windows = team.batch(contender, n_calls)?;
        least = least.min(longest(&windows));
        if overlap(&windows) >= MIN_OVERLAP {
            break;
        }
    }
    Ok(least)
}

fn check_read_back(contender: &Contender) -> Result<(), MeasureError> {
    let read_back = contender.read_back();
    if read_back.found == read_back.expected {
        return Ok(());
    }
    Err(MeasureError::WrongReadBack { contender: contender.name, read_back })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::Kind;
    use std::hint::black_box;
    use std::sync::atomic::{AtomicU64, Ordering};

    const PLAN: RoundPlan = RoundPlan { n_rounds: 3, batch: Duration::from_micros(100) };

    static COUNT: AtomicU64 = AtomicU64::new(0);

    fn count(n_calls: u64) {
        for _ in 0..n_calls {
            COUNT.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_contender_with_a_right_count_gets_its_times() {
        let before = COUNT.load(Ordering::Relaxed) as f64;
        let read = move || COUNT.load(Ordering::Relaxed) as f64 - before;
        let contenders = [Contender::counting(Kind::Peer, "right", "", count, read)];
        let timings = time(Measurement::CounterHandle, &contenders, &[1, 2], PLAN).unwrap();
        assert_eq!(timings.len(), 2);
        assert!(timings[0][0].ns_per_unit.len() >= 3);
    }

    #[test]
    fn a_contender_that_loses_a_call_is_refused() {
        let loses = |n_calls: u64| (1..n_calls).for_each(|idx| _ = black_box(idx));
        let contenders = [Contender::counting(Kind::Peer, "loses", "", loses, || 7.0)];
        let err = time(Measurement::CounterHandle, &contenders, &[1], PLAN).unwrap_err().to_string();
        assert!(err.starts_with("loses reads back 7, expected "), "{err}");
    }

    #[test]
    fn a_contender_that_does_nothing_is_refused() {
        let contenders =
            [Contender::new(Kind::Peer, "folded", "", |_| (), |_| ReadBack { found: 0.0, expected: 0.0 })];
        let err = time(Measurement::CounterHandle, &contenders, &[1], PLAN).unwrap_err().to_string();
        assert!(err.starts_with("folded took "), "{err}");
    }
}
