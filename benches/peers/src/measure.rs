//! Interleaved rounds: in each, every contender is measured once on each number of threads, in an order that moves on by
//! one.
//!
//! Owns how long a batch is, which rounds count, and the checks that the work was done: a round whose threads did not
//! run all the time and all at once is thrown away and counted, a figure that no processor can reach is refused, and at the end every
//! contender's stats must say what its calls add up to. It knows no crate and prints nothing. Called by `main`.

use std::fmt;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use crate::allocations::allocations_of;
use crate::contender::{Answer, Contender, Measurement};
use crate::inputs::BLOCK_CALLS;
use crate::team::{Team, ThreadLost, longest, overlap};

/// Threads that ran for less than this part of a batch were interrupted, or did not run at once.
const MIN_OVERLAP: f64 = 0.9;

/// Rounds that are tried for each round that counts.
const MOST_ATTEMPTS: usize = 6;

/// No call can be made and its effect stored in less, at any clock rate: the compiler dropped the loop.
const MIN_NS: f64 = 0.05;

/// How much time to spend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Rounds that count, of each contender.
    pub(crate) n_rounds: usize,
    /// Time of one contender in one round.
    pub(crate) batch: Duration,
}

/// What the rounds of one contender gave.
#[derive(Debug, Default)]
pub(crate) struct Timing {
    /// Nanoseconds for one unit, one figure a round, of the slowest thread.
    pub(crate) figures: Vec<f64>,
    /// Rounds that were thrown away because the threads did not run all the time.
    pub(crate) n_discarded: usize,
}

/// Why a measurement is worth nothing.
#[derive(Debug)]
#[non_exhaustive]
pub(crate) enum MeasureError {
    Lost(ThreadLost),
    TooFast { contender: &'static str, ns: f64 },
    WrongAnswer { contender: &'static str, answer: Answer },
}

impl fmt::Display for MeasureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(lost) => lost.fmt(f),
            Self::TooFast { contender, ns } => {
                write!(
                    f,
                    "{contender} took {ns:.4} ns, expected at least {MIN_NS}: see whether its loop was folded"
                )
            }
            Self::WrongAnswer { contender, answer: Answer { found, expected } } => {
                write!(
                    f,
                    "{contender} reads back {found}, expected {expected}: see whether its calls were all made"
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

/// Measures all contenders on each of these numbers of threads, and returns their timings in the same order: by number
/// of threads, and by contender.
pub(crate) fn time(
    measurement: Measurement,
    contenders: &[Contender],
    n_threads: &[usize],
    plan: Plan,
) -> Result<Vec<Vec<Timing>>, MeasureError> {
    let timings = thread::scope(|scope| {
        let mut heats = Vec::new();
        for n_threads in n_threads {
            let team = Rc::new(Team::start(scope, *n_threads));
            for contender in contenders {
                let n_calls = batch_size(&team, measurement, contender, plan.batch)?;
                heats.push(Heat { team: team.clone(), contender, n_calls, timing: Timing::default() });
            }
        }
        // On a busy machine most rounds may be lost before a contender has too few.
        for round in 0..MOST_ATTEMPTS * plan.n_rounds {
            if heats.iter().all(|heat| heat.timing.figures.len() >= plan.n_rounds) {
                break;
            }
            let n_heats = heats.len();
            for turn in 0..n_heats {
                heats[(round + turn) % n_heats].measure_once()?;
            }
        }
        Ok::<_, MeasureError>(heats.into_iter().map(|heat| heat.timing).collect::<Vec<_>>())
    })?;
    contenders.iter().try_for_each(check_answer)?;
    let mut timings = timings.into_iter();
    Ok(n_threads.iter().map(|_| timings.by_ref().take(contenders.len()).collect()).collect())
}

/// One contender on one number of threads.
struct Heat<'a> {
    team: Rc<Team<'a>>,
    contender: &'a Contender,
    n_calls: u64,
    timing: Timing,
}

/// How often a contender's call asks for memory, once its first calls are over.
pub(crate) fn allocations(measurement: Measurement, contender: &Contender) -> f64 {
    let n_calls = if measurement == Measurement::Text { 1 } else { BLOCK_CALLS };
    contender.prepare();
    contender.run(n_calls);
    contender.prepare();
    allocations_of(|| contender.run(n_calls)) as f64 / n_calls as f64
}

impl Heat<'_> {
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
        timing.figures.push(ns);
        Ok(())
    }
}

/// The number of calls that take about `batch`. Finding it warms everything up, too.
fn batch_size<'a>(
    team: &Team<'a>,
    measurement: Measurement,
    contender: &'a Contender,
    batch: Duration,
) -> Result<u64, MeasureError> {
    // Samples are fresh once only, so a second text would be another text.
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

/// The time of so many calls, not to be mistaken for that of an interruption: a batch that is too short overlaps badly.
fn undisturbed_time<'a>(
    team: &Team<'a>,
    contender: &'a Contender,
    n_calls: u64,
) -> Result<Duration, MeasureError> {
    let mut least = Duration::MAX;
    for _ in 0..MOST_ATTEMPTS {
        let windows = team.batch(contender, n_calls)?;
        least = least.min(longest(&windows));
        if overlap(&windows) >= MIN_OVERLAP {
            break;
        }
    }
    Ok(least)
}

fn check_answer(contender: &Contender) -> Result<(), MeasureError> {
    let answer = contender.answer();
    if answer.found == answer.expected {
        return Ok(());
    }
    Err(MeasureError::WrongAnswer { contender: contender.name, answer })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::Kind;
    use std::hint::black_box;
    use std::sync::atomic::{AtomicU64, Ordering};

    const PLAN: Plan = Plan { n_rounds: 3, batch: Duration::from_micros(100) };

    static COUNT: AtomicU64 = AtomicU64::new(0);

    fn count(n_calls: u64) {
        for _ in 0..n_calls {
            COUNT.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_contender_that_counts_right_gets_its_figures() {
        let before = COUNT.load(Ordering::Relaxed) as f64;
        let read = move || COUNT.load(Ordering::Relaxed) as f64 - before;
        let contenders = [Contender::counting(Kind::Peer, "right", "", count, read)];
        let timings = time(Measurement::CounterHandle, &contenders, &[1, 2], PLAN).unwrap();
        assert_eq!(timings.len(), 2);
        assert!(timings[0][0].figures.len() >= 3);
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
            [Contender::new(Kind::Peer, "folded", "", |_| (), |_| Answer { found: 0.0, expected: 0.0 })];
        let err = time(Measurement::CounterHandle, &contenders, &[1], PLAN).unwrap_err().to_string();
        assert!(err.starts_with("folded took "), "{err}");
    }
}
