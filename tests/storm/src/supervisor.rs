//! The supervisor of the workers: starts, signals and reaps their processes.
//!
//! Owns the processes, the record of how each one ended, and the expectation of what a response may lack. It never blocks
//! on a process.

use std::fs;
use std::io::{self, PipeReader, PipeWriter, pipe};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::tally::{State, Tallies};
use crate::verify::Expectation;

/// 10 s after its death a worker must be gone from responses. Until then another reader that has opened its pipe can keep
/// the pipe in the directory; no reader needs longer, also on a busy machine.
const GONE_AFTER: Duration = Duration::from_secs(10);

/// 10 s after its allocation a fork without a pid never existed: its parent was killed right before the fork.
const NOT_FORKED_AFTER: Duration = Duration::from_secs(10);

/// The worker processes.
pub(crate) struct Supervisor {
    pub(crate) tallies: &'static Tallies,
    tallies_path: PathBuf,
    pipe_dir: PathBuf,
    seed: u64,
    /// The standard input of all workers. A worker exits when its standard input ends.
    worker_stdin: PipeReader,
    /// The only write end: it closes when this process dies.
    _keepalive: PipeWriter,
    workers: Mutex<Vec<WorkerProcess>>,
}

/// What the storm did to a worker process, and how it ended.
#[derive(Clone, Copy, Debug)]
struct WorkerProcess {
    pid: Option<Pid>,
    known_since: Instant,
    /// The signal that was sent to end it, or is about to be sent.
    end_signal: Option<Signal>,
    is_stopped: bool,
    was_stopped: bool,
    dead_since: Option<Instant>,
    /// Nothing of it is left, not even a zombie.
    is_reaped: bool,
}

impl Supervisor {
    pub(crate) fn new(tallies_path: PathBuf, pipe_dir: PathBuf, seed: u64) -> io::Result<Self> {
        let tallies = Tallies::open(&tallies_path)?;
        let (worker_stdin, keepalive) = pipe()?;
        Ok(Self {
            tallies,
            tallies_path,
            pipe_dir,
            seed,
            worker_stdin,
            _keepalive: keepalive,
            workers: Mutex::default(),
        })
    }

    pub(crate) fn pipe_dir(&self) -> &Path {
        &self.pipe_dir
    }

    /// Starts a worker; `false` if no tally is left for one.
    pub(crate) fn start(&self) -> io::Result<bool> {
        let Some(id) = self.tallies.allocate() else { return Ok(false) };
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("worker").arg(&self.tallies_path).arg(&self.pipe_dir);
        command
            .args([self.seed.to_string(), id.to_string()])
            .stdin(Stdio::from(self.worker_stdin.try_clone()?));
        // Locked over the spawn, so that other threads never see this worker without its pid.
        let mut workers = self.workers();
        workers[id].pid = Some(Pid::from_raw(command.spawn()?.id().cast_signed()));
        Ok(true)
    }

    /// Returns the workers that publish and were sent no signal to end them, each with `true` if it is stopped.
    pub(crate) fn running(&self) -> Vec<(usize, bool)> {
        let workers = self.workers();
        let running = workers.iter().enumerate().filter(|(id, worker)| self.is_running(*id, worker));
        running.map(|(id, worker)| (id, worker.is_stopped)).collect()
    }

    /// Returns how many workers are not dead.
    pub(crate) fn n_not_dead(&self) -> usize {
        self.workers().iter().filter(|worker| worker.dead_since.is_none()).count()
    }

    /// Descriptions of the workers that are neither dead nor publish and pause in this epoch.
    pub(crate) fn not_paused(&self, epoch: u64) -> Vec<String> {
        let workers = self.workers();
        let not_dead = workers.iter().enumerate().filter(|(_, worker)| worker.dead_since.is_none());
        let not_paused = not_dead.filter(|(id, worker)| {
            !self.is_running(*id, worker) || !self.tallies.tally(*id).is_paused(epoch)
        });
        not_paused.map(|(id, worker)| self.describe(id, worker)).collect()
    }

    /// Sends a worker a signal that ends it.
    pub(crate) fn end(&self, id: usize, signal: Signal) {
        let mut workers = self.workers();
        let worker = &mut workers[id];
        worker.end_signal = Some(signal);
        worker.send(signal);
        // SIGKILL ends a stopped process, too. Any other signal takes effect when the process continues.
        if signal != Signal::SIGKILL {
            worker.send(Signal::SIGCONT);
        }
    }

    pub(crate) fn stop(&self, id: usize) {
        let mut workers = self.workers();
        workers[id].is_stopped = true;
        workers[id].was_stopped = true;
        workers[id].send(Signal::SIGSTOP);
    }

    pub(crate) fn resume(&self, id: usize) {
        let mut workers = self.workers();
        workers[id].is_stopped = false;
        workers[id].send(Signal::SIGCONT);
    }

    /// Reaps the dead. Returns descriptions of the workers that ended without a reason.
    pub(crate) fn reap(&self) -> Vec<String> {
        let mut unexpected_ends = Vec::new();
        for (id, worker) in self.workers().iter_mut().enumerate().filter(|(_, worker)| !worker.is_reaped) {
            let tally = self.tallies.tally(id);
            let Some(pid) = worker.pid else {
                if tally.state() == State::Unused || worker.known_since.elapsed() > NOT_FORKED_AFTER {
                    worker.mark_reaped();
                }
                continue;
            };
            match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => {}
                Ok(status) => {
                    worker.mark_reaped();
                    let may_exit = tally.state() == State::Exiting || self.tallies.exit_requested();
                    if !worker.explains(status, may_exit) {
                        unexpected_ends.push(format!("worker {id} ended by itself: {status:?}"));
                    }
                }
                // A child of another worker. This process becomes its parent, and reaps it, when that worker ends.
                Err(Errno::ECHILD) if !is_zombie(pid) => {}
                Err(_) => _ = worker.dead_since.get_or_insert_with(Instant::now),
            }
        }
        unexpected_ends
    }

    /// Descriptions of the workers that are not reaped: running processes and zombies.
    pub(crate) fn not_reaped(&self) -> Vec<String> {
        let workers = self.workers();
        let not_reaped = workers.iter().enumerate().filter(|(_, worker)| !worker.is_reaped);
        not_reaped.map(|(id, worker)| self.describe(id, worker)).collect()
    }

    /// Returns whether a worker with this pipe was stopped or ended by a signal, possibly in the middle of a line.
    pub(crate) fn was_interrupted(&self, pipe: &str) -> bool {
        let pid = pipe.strip_suffix(".stats").and_then(|pid| pid.parse().ok()).map(Pid::from_raw);
        let workers = self.workers();
        pid.is_some()
            && workers
                .iter()
                .any(|worker| worker.pid == pid && (worker.was_stopped || worker.end_signal.is_some()))
    }

    /// Kills all workers that are left.
    pub(crate) fn kill_all(&self) {
        (0..self.tallies.n_allocated()).for_each(|id| self.end(id, Signal::SIGKILL));
    }

    /// Returns the first half of an expectation for each worker, taken before the request. `reported` holds the highest count
    /// of each worker that the service has reported before.
    pub(crate) fn expect_before(&self, reported: &[u64]) -> Vec<Expectation> {
        let workers = self.workers();
        let expectations = workers.iter().enumerate().map(|(id, worker)| Expectation {
            is_running: self.is_running(id, worker),
            is_gone: worker.dead_since.is_some_and(|since| since.elapsed() > GONE_AFTER),
            lower: self.tallies.tally(id).lower(),
            upper: 0,
            reported: reported.get(id).copied().unwrap_or(0),
        });
        expectations.collect()
    }

    /// Returns the second half of the expectations, taken after the response.
    pub(crate) fn expect_after(&self, mut expectations: Vec<Expectation>) -> Vec<Expectation> {
        let workers = self.workers();
        expectations.resize_with(workers.len(), Expectation::default);
        for (id, expectation) in expectations.iter_mut().enumerate() {
            expectation.is_running &= self.is_running(id, &workers[id]);
            expectation.upper = self.tallies.tally(id).upper();
        }
        expectations
    }

    fn is_running(&self, id: usize, worker: &WorkerProcess) -> bool {
        worker.end_signal.is_none()
            && worker.dead_since.is_none()
            && self.tallies.tally(id).state() == State::Published
    }

    fn describe(&self, id: usize, worker: &WorkerProcess) -> String {
        let state = self.tallies.tally(id).state();
        let pid = worker.pid.map_or(0, Pid::as_raw);
        let end_signal = worker.end_signal.map_or("none", Signal::as_str);
        let is_dead = worker.dead_since.is_some();
        format!("worker {id} (pid {pid}, {state:?}, signal to end it: {end_signal}, dead: {is_dead})")
    }

    /// Locks the list of all workers. Adds those that were allocated since, and the pids that they wrote.
    fn workers(&self) -> MutexGuard<'_, Vec<WorkerProcess>> {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.resize_with(self.tallies.n_allocated(), WorkerProcess::new);
        for (id, worker) in workers.iter_mut().enumerate().filter(|(_, worker)| worker.pid.is_none()) {
            worker.pid = self.tallies.tally(id).pid().map(|pid| Pid::from_raw(pid.cast_signed()));
        }
        workers
    }
}

impl WorkerProcess {
    fn new() -> Self {
        Self {
            pid: None,
            known_since: Instant::now(),
            end_signal: None,
            is_stopped: false,
            was_stopped: false,
            dead_since: None,
            is_reaped: false,
        }
    }

    fn send(&self, signal: Signal) {
        if let Some(pid) = self.pid.filter(|_| !self.is_reaped) {
            // The pid is still this worker's: the system gives it to another process only after it is reaped.
            let _ = kill(pid, signal);
        }
    }

    fn mark_reaped(&mut self) {
        self.dead_since.get_or_insert_with(Instant::now);
        self.is_reaped = true;
    }

    /// Returns whether the worker may have ended with this status.
    fn explains(&self, status: WaitStatus, may_exit: bool) -> bool {
        match status {
            WaitStatus::Exited(_, 0) => may_exit,
            WaitStatus::Signaled(_, signal, _) => self.end_signal == Some(signal),
            _ => false,
        }
    }
}

/// Returns whether only the exit status of a process is left. By then the kernel has released its locks and descriptors.
fn is_zombie(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}
