//! The threads that do the measured work, and whether they really did it at the same time.
//!
//! Owns the start of a batch, its time windows, and where the threads run: each has a processor for itself. They live as long as their team, as a program's threads do, so that what a crate does
//! once per thread is paid once. Called by `measure`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Scope;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::contender::Contender;

/// No batch takes this long, unless a thread died or the machine stands still.
const DEADLINE: Duration = Duration::from_secs(60);

/// When one thread began its part of a batch, and when it was done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) start: Instant,
    pub(crate) end: Instant,
    /// Time that it had a processor meanwhile.
    pub(crate) on_cpu: Duration,
}

/// A thread gave no answer.
#[derive(Debug)]
pub(crate) struct ThreadLost;

impl fmt::Display for ThreadLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a measuring thread gave no answer in {DEADLINE:?}; look above for its panic, or use a calmer machine"
        )
    }
}

impl std::error::Error for ThreadLost {}

struct Job<'a> {
    contender: &'a Contender,
    n_calls: u64,
    gate: Arc<Gate>,
}

/// Some threads that wait for batches.
pub(crate) struct Team<'a> {
    jobs: Vec<Sender<Job<'a>>>,
    windows: Receiver<Window>,
}

impl<'a> Team<'a> {
    /// Starts the threads. They end when the team is dropped.
    pub(crate) fn start<'scope>(scope: &'scope Scope<'scope, 'a>, n_threads: usize) -> Self {
        let (window_sender, windows) = channel();
        let start_one = |idx| {
            let (job_sender, jobs) = channel::<Job<'a>>();
            let windows = window_sender.clone();
            scope.spawn(move || {
                take_processor(idx);
                jobs.iter().try_for_each(|job| windows.send(work(&job)))
            });
            job_sender
        };
        Self { jobs: (0..n_threads).map(start_one).collect(), windows }
    }

    /// Has each thread make so many calls, all at once.
    pub(crate) fn batch(&self, contender: &'a Contender, n_calls: u64) -> Result<Vec<Window>, ThreadLost> {
        contender.prepare();
        let gate = Arc::new(Gate::new(self.jobs.len()));
        for job in &self.jobs {
            job.send(Job { contender, n_calls, gate: gate.clone() }).map_err(|_| ThreadLost)?;
        }
        self.jobs.iter().map(|_| self.windows.recv_timeout(DEADLINE).map_err(|_| ThreadLost)).collect()
    }
}

/// The part of the whole batch, from the first start to the last end, that every thread was running for: 1 if all ran
/// all the time; a half if each waited for the other.
pub(crate) fn overlap(windows: &[Window]) -> f64 {
    let start = windows.iter().map(|window| window.start).min();
    let end = windows.iter().map(|window| window.end).max();
    let whole = start.zip(end).map_or(Duration::ZERO, |(start, end)| end - start);
    let least = windows.iter().map(|window| window.on_cpu).min().unwrap_or_default();
    least.as_secs_f64() / whole.as_secs_f64()
}

/// The time of the slowest thread.
pub(crate) fn longest(windows: &[Window]) -> Duration {
    windows.iter().map(|window| window.end - window.start).max().unwrap_or_default()
}

fn work(job: &Job<'_>) -> Window {
    job.gate.pass();
    let cpu_start = cpu_time();
    let start = Instant::now();
    job.contender.run(job.n_calls);
    let end = Instant::now();
    Window { start, end, on_cpu: cpu_time().saturating_sub(cpu_start) }
}

fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

/// Keeps this thread to one of the processors that the program may use. Where there are too few, threads do not run at
/// the same time, which their windows show.
fn take_processor(idx: usize) {
    let Ok(allowed) = sched_getaffinity(Pid::from_raw(0)) else {
        return;
    };
    let Some(cpu) = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false)).nth(idx) else {
        return;
    };
    let mut own = CpuSet::new();
    _ = own.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &own));
}

/// Holds threads back until all are there. It spins, because a thread that sleeps comes late.
struct Gate {
    n_expected: usize,
    n_there: AtomicUsize,
}

impl Gate {
    fn new(n_expected: usize) -> Self {
        Self { n_expected, n_there: AtomicUsize::new(0) }
    }

    fn pass(&self) {
        // Relaxed: nothing else is read after the gate; the windows tell whether it worked.
        self.n_there.fetch_add(1, Ordering::Relaxed);
        let deadline = Instant::now() + DEADLINE;
        while self.n_there.load(Ordering::Relaxed) < self.n_expected && Instant::now() < deadline {
            std::hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::Kind;

    #[test]
    fn overlap_is_the_part_of_the_batch_that_all_threads_ran_for() {
        let zero = Instant::now();
        let ms = Duration::from_millis;
        let window =
            |start, end, on_cpu| Window { start: zero + ms(start), end: zero + ms(end), on_cpu: ms(on_cpu) };
        for (windows, expected) in [
            (vec![window(0, 10, 10)], 1.0),
            (vec![window(0, 10, 7)], 0.7),
            (vec![window(0, 10, 10), window(0, 10, 10)], 1.0),
            (vec![window(0, 10, 10), window(5, 10, 5)], 0.5),
            (vec![window(0, 10, 10), window(10, 20, 10)], 0.5),
            (vec![window(0, 20, 10), window(0, 20, 10)], 0.5),
        ] {
            assert!((overlap(&windows) - expected).abs() < 1e-9, "{windows:?}");
        }
        assert_eq!(longest(&[window(3, 10, 1), window(5, 14, 1)]), ms(9));
    }

    #[test]
    fn every_thread_makes_all_calls_of_a_batch() {
        let contender = Contender::counting(Kind::Peer, "", "", |_| (), || 0.0);
        std::thread::scope(|scope| {
            let team = Team::start(scope, 3);
            assert_eq!(team.batch(&contender, 800).unwrap().len(), 3);
            assert_eq!(team.batch(&contender, 800).unwrap().len(), 3);
        });
        assert_eq!(contender.answer().expected, 6.0 * 800.0);
    }
}
