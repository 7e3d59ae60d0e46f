//! All workers as the storm sees them: started, killed, stopped, continued, and what became of each.
//!
//! Owns their processes and the knowledge of who may be missing from an answer. It never waits for one. Called by `storm`
//! and `readers`.

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

use crate::judge::Known;
use crate::ledger::{Ledger, State};

/// A worker that is dead for so long has to be gone from answers. Another reader that has its pipe at the moment can keep
/// it there, also on a busy machine no longer than that.
const GONE_AFTER: Duration = Duration::from_secs(10);

/// A fork that has not said its pid after so long never was: its parent was killed right before.
const UNBORN_AFTER: Duration = Duration::from_secs(10);

/// The workers.
pub(crate) struct Crowd {
    pub(crate) ledger: &'static Ledger,
    ledger_path: PathBuf,
    pipe_dir: PathBuf,
    seed: u64,
    /// Workers end when the other end of their standard input does.
    lifeline: PipeReader,
    _life: PipeWriter,
    fates: Mutex<Vec<Fate>>,
}

/// What the storm did to a worker, and what became of it.
#[derive(Clone, Copy, Debug)]
struct Fate {
    pid: Option<Pid>,
    known_since: Instant,
    /// The signal that ends it and that was sent, or is about to be.
    doom: Option<Signal>,
    is_stopped: bool,
    was_stopped: bool,
    dead_since: Option<Instant>,
    /// Nothing of it is left, not even a zombie.
    is_reaped: bool,
}

impl Crowd {
    pub(crate) fn new(ledger_path: PathBuf, pipe_dir: PathBuf, seed: u64) -> io::Result<Self> {
        let ledger = Ledger::open(&ledger_path)?;
        let (lifeline, life) = pipe()?;
        Ok(Self { ledger, ledger_path, pipe_dir, seed, lifeline, _life: life, fates: Mutex::default() })
    }

    pub(crate) fn pipe_dir(&self) -> &Path {
        &self.pipe_dir
    }

    /// Starts a worker; `false` if there is no ledger left for one.
    pub(crate) fn start(&self) -> io::Result<bool> {
        let Some(id) = self.ledger.take() else { return Ok(false) };
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("worker").arg(&self.ledger_path).arg(&self.pipe_dir);
        command.args([self.seed.to_string(), id.to_string()]).stdin(Stdio::from(self.lifeline.try_clone()?));
        // Held, so that nobody looks at this worker before its pid is known.
        let mut fates = self.fates();
        fates[id].pid = Some(Pid::from_raw(command.spawn()?.id().cast_signed()));
        Ok(true)
    }

    /// The workers that publish and that nothing was done to that ends them; `true` of those that are stopped.
    pub(crate) fn living(&self) -> Vec<(usize, bool)> {
        let fates = self.fates();
        let living = fates.iter().enumerate().filter(|(id, fate)| self.is_living(*id, fate));
        living.map(|(id, fate)| (id, fate.is_stopped)).collect()
    }

    /// How many workers are not dead.
    pub(crate) fn n_undead(&self) -> usize {
        self.fates().iter().filter(|fate| fate.dead_since.is_none()).count()
    }

    /// Those that are neither dead nor publish and hold still in this epoch, with what is known of each.
    pub(crate) fn restless(&self, epoch: u64) -> Vec<String> {
        let fates = self.fates();
        let undead = fates.iter().enumerate().filter(|(_, fate)| fate.dead_since.is_none());
        let restless =
            undead.filter(|(id, fate)| !self.is_living(*id, fate) || !self.ledger.row(*id).holds(epoch));
        restless.map(|(id, fate)| self.describe(id, fate)).collect()
    }

    /// Sends a signal that ends it.
    pub(crate) fn end(&self, id: usize, signal: Signal) {
        let mut fates = self.fates();
        let fate = &mut fates[id];
        fate.doom = Some(signal);
        fate.send(signal);
        // A stopped one is killed as it is, and ends of anything else once it goes on.
        if signal != Signal::SIGKILL {
            fate.send(Signal::SIGCONT);
        }
    }

    pub(crate) fn stop(&self, id: usize) {
        let mut fates = self.fates();
        fates[id].is_stopped = true;
        fates[id].was_stopped = true;
        fates[id].send(Signal::SIGSTOP);
    }

    pub(crate) fn go_on(&self, id: usize) {
        let mut fates = self.fates();
        fates[id].is_stopped = false;
        fates[id].send(Signal::SIGCONT);
    }

    /// Looks who died, and returns how those did who should not have.
    pub(crate) fn look(&self) -> Vec<String> {
        let mut odd_ends = Vec::new();
        for (id, fate) in self.fates().iter_mut().enumerate().filter(|(_, fate)| !fate.is_reaped) {
            let row = self.ledger.row(id);
            let Some(pid) = fate.pid else {
                if row.state() == State::Void || fate.known_since.elapsed() > UNBORN_AFTER {
                    fate.bury();
                }
                continue;
            };
            match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => {}
                Ok(status) => {
                    fate.bury();
                    let has_left = row.state() == State::Leaving || self.ledger.is_over();
                    if !fate.explains(status, has_left) {
                        odd_ends.push(format!("worker {id} ended by itself: {status:?}"));
                    }
                }
                // Another worker's child, which waits for that one's end to be reaped by us.
                Err(Errno::ECHILD) if !is_zombie(pid) => {}
                Err(_) => _ = fate.dead_since.get_or_insert_with(Instant::now),
            }
        }
        odd_ends
    }

    /// The workers of which a zombie or more is left, with what is known of each.
    pub(crate) fn unreaped(&self) -> Vec<String> {
        let fates = self.fates();
        let unreaped = fates.iter().enumerate().filter(|(_, fate)| !fate.is_reaped);
        unreaped.map(|(id, fate)| self.describe(id, fate)).collect()
    }

    /// Whether a worker with this pipe was stopped or ended, which can be in the middle of a line.
    pub(crate) fn was_disturbed(&self, pipe: &str) -> bool {
        let pid = pipe.strip_suffix(".stats").and_then(|pid| pid.parse().ok()).map(Pid::from_raw);
        let fates = self.fates();
        pid.is_some() && fates.iter().any(|fate| fate.pid == pid && (fate.was_stopped || fate.doom.is_some()))
    }

    /// Kills whatever is left.
    pub(crate) fn kill_all(&self) {
        (0..self.ledger.n_taken()).for_each(|id| self.end(id, Signal::SIGKILL));
    }

    /// What is known of each worker before a question to a service that said so much of each before.
    pub(crate) fn before(&self, said: &[u64]) -> Vec<Known> {
        let fates = self.fates();
        let known = fates.iter().enumerate().map(|(id, fate)| Known {
            is_alive: self.is_living(id, fate),
            is_gone: fate.dead_since.is_some_and(|since| since.elapsed() > GONE_AFTER),
            lower: self.ledger.row(id).lower(),
            upper: 0,
            said: said.get(id).copied().unwrap_or(0),
        });
        known.collect()
    }

    /// Adds what is known once the answer is there.
    pub(crate) fn after(&self, mut known: Vec<Known>) -> Vec<Known> {
        let fates = self.fates();
        known.resize_with(fates.len(), Known::default);
        for (id, known) in known.iter_mut().enumerate() {
            known.is_alive &= self.is_living(id, &fates[id]);
            known.upper = self.ledger.row(id).upper();
        }
        known
    }

    fn is_living(&self, id: usize, fate: &Fate) -> bool {
        fate.doom.is_none() && fate.dead_since.is_none() && self.ledger.row(id).state() == State::Published
    }

    fn describe(&self, id: usize, fate: &Fate) -> String {
        let state = self.ledger.row(id).state();
        let pid = fate.pid.map_or(0, Pid::as_raw);
        let (doomed, dead) = (fate.doom.map_or("", Signal::as_str), fate.dead_since.is_some());
        format!("worker {id} (pid {pid}, {state:?}, sent to end it: {doomed:?}, dead: {dead})")
    }

    /// The fates of all workers there are by now, with the pids that they noted.
    fn fates(&self) -> MutexGuard<'_, Vec<Fate>> {
        let mut fates = self.fates.lock().unwrap_or_else(PoisonError::into_inner);
        fates.resize_with(self.ledger.n_taken(), Fate::new);
        for (id, fate) in fates.iter_mut().enumerate().filter(|(_, fate)| fate.pid.is_none()) {
            fate.pid = self.ledger.row(id).pid().map(|pid| Pid::from_raw(pid.cast_signed()));
        }
        fates
    }
}

impl Fate {
    fn new() -> Self {
        Self {
            pid: None,
            known_since: Instant::now(),
            doom: None,
            is_stopped: false,
            was_stopped: false,
            dead_since: None,
            is_reaped: false,
        }
    }

    fn send(&self, signal: Signal) {
        if let Some(pid) = self.pid.filter(|_| !self.is_reaped) {
            // Its pid is its own: as long as it is not reaped nobody else gets it.
            let _ = kill(pid, signal);
        }
    }

    fn bury(&mut self) {
        self.dead_since.get_or_insert_with(Instant::now);
        self.is_reaped = true;
    }

    /// Whether a worker of this fate may end so.
    fn explains(&self, status: WaitStatus, has_left: bool) -> bool {
        match status {
            WaitStatus::Exited(_, 0) => has_left,
            WaitStatus::Signaled(_, signal, _) => self.doom == Some(signal),
            _ => false,
        }
    }
}

/// Whether nothing is left of a process but its status. By then the system has freed its locks and descriptors.
fn is_zombie(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}
