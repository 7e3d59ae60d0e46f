//! The measuring threads: a team of pinned threads that run batches at the same time.
//!
//! Owns the start of a batch, its time windows, and the processor of each thread. Threads live as long as their team, as in
//! a program, so each crate pays its cost per thread only once.

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

/// 60 s: a batch takes milliseconds; a longer one has lost a thread, or the machine is suspended.
const DEADLINE: Duration = Duration::from_secs(60);

/// The time window of one thread's part of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) start: Instant,
    pub(crate) end: Instant,
    /// Its processor time within the window.
    pub(crate) on_cpu: Duration,
}

/// A thread sent no result.
#[derive(Debug)]
pub(crate) struct ThreadLost;

impl fmt::Display for ThreadLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a measuring thread sent no result within {DEADLINE:?}: see its panic above, or use a less busy machine"
        )
    }
}

impl std::error::Error for ThreadLost {}

struct Job<'a> {
    contender: &'a Contender,
    n_calls: u64,
    barrier: Arc<SpinBarrier>,
}

/// A group of threads that wait for batches.
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
                pin_to_processor(idx);
                jobs.iter().try_for_each(|job| windows.send(work(&job)))
            });
            job_sender
        };
        Self { jobs: (0..n_threads).map(start_one).collect(), windows }
    }

    /// Runs one batch: each thread makes `n_calls` calls, all threads at the same time.
    pub(crate) fn batch(&self, contender: &'a Contender, n_calls: u64) -> Result<Vec<Window>, ThreadLost> {
        contender.prepare();
        let barrier = Arc::new(SpinBarrier::new(self.jobs.len()));
        for job in &self.jobs {
            job.send(Job { contender, n_calls, barrier: barrier.clone() }).map_err(|_| ThreadLost)?;
        }
        self.jobs.iter().map(|_| self.windows.recv_timeout(DEADLINE).map_err(|_| ThreadLost)).collect()
    }
}

/// The part of the batch, from the first start to the last end, in which the least active thread ran: 1 if all threads ran
/// all the time, one half if two threads waited for each other.
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
    job.barrier.wait();
    let cpu_start = cpu_time();
    let start = Instant::now();
    job.contender.run(job.n_calls);
    let end = Instant::now();
    Window { start, end, on_cpu: cpu_time().saturating_sub(cpu_start) }
}

fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

/// Pins this thread to one of the processors that the program may use. If there are too few, the threads do not run at
/// the same time, which their windows show.
fn pin_to_processor(idx: usize) {
    let Ok(allowed) = sched_getaffinity(Pid::from_raw(0)) else {
        return;
    };
    let Some(cpu) = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false)).nth(idx) else {
        return;
    };
    let mut own = CpuSet::new();
    _ = own.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &own));
}

/// A barrier that spins until all threads have arrived, because a sleeping thread would start late.
struct SpinBarrier {
    n_expected: usize,
    n_arrived: AtomicUsize,
}

impl SpinBarrier {
    fn new(n_expected: usize) -> Self {
        Self { n_expected, n_arrived: AtomicUsize::new(0) }
    }

    fn wait(&self) {
        // Relaxed: threads exchange no other data through the barrier. The windows show whether it worked.
        self.n_arrived.fetch_add(1, Ordering::Relaxed);
        let deadline = Instant::now() + DEADLINE;
        while self.n_arrived.load(Ordering::Relaxed) < self.n_expected && Instant::now() < deadline {
            std::hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::Kind;

    #[test]
    fn overlap_is_the_part_of_the_batch_in_which_all_threads_ran() {
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
        assert_eq!(contender.read_back().expected, 6.0 * 800.0);
    }
}
