//! The course of a storm: load phases, checkpoints, the shutdown, and the check that nothing is left.
//!
//! Owns what is done to the workers and when. In a load phase of a few seconds workers start and end at random. At a
//! checkpoint all of them pause and every number must be exact. The processes are `supervisor`'s, the reading is
//! `readers`'.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::Signal;

use crate::random::Random;
use crate::readers::{ObservedService, ReaderState, cat_pipes, describe, poll_service};
use crate::response::ProcessCounts;
use crate::service::{Service, descriptors_of};
use crate::supervisor::Supervisor;
use crate::verify::verify;
use crate::worker::MAX_GENERATIONS;

/// The storm starts workers up to this number.
const N_WORKERS: usize = 30;
/// Workers may fork while fewer than this number live, forks included.
const N_WORKERS_AND_FORKS: usize = 45;
const N_CLIENTS_EACH: u64 = 2;
const N_CATS: u64 = 2;
const MAX_STOPPED: usize = 4;
/// During a swap a recorder holds 32 retired pipes, the pipe that it serves twice, the fresh pipe, and one that the health check
/// opens.
const MAX_PIPES_OF_WORKER: usize = 36;
/// The standard streams, and a file or two that are open for a moment.
const MAX_OTHERS_OF_WORKER: usize = 8;
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);
/// 10 ms: at most a hundred actions per second.
const STEP: Duration = Duration::from_millis(10);
/// 60 s: workers and services need far less, also on a busy machine.
const WAIT_DEADLINE: Duration = Duration::from_secs(60);

/// The command line.
pub(crate) struct Options {
    pub(crate) service: PathBuf,
    pub(crate) seed: u64,
    pub(crate) duration: Duration,
}

/// How often each action was done.
#[derive(Debug, Default)]
struct ActionCounts {
    n_started: u64,
    n_killed: u64,
    n_terminated: u64,
    n_stopped: u64,
    n_checkpoints: u64,
}

struct Storm<'a> {
    supervisor: &'a Supervisor,
    services: &'a [ObservedService; 2],
    state: &'a ReaderState,
    random: Random,
    actions: ActionCounts,
    started_at: Instant,
    last_progress_at: Instant,
}

/// Runs a storm. Returns the findings: what the tallies do not explain.
pub(crate) fn run(options: &Options) -> Result<Vec<String>, Box<dyn Error>> {
    // Orphans become children of this process. So the system reuses no pid before this process has reaped it.
    set_child_subreaper(true)?;
    let temp = tempfile::Builder::new().prefix("statvent-storm-").tempdir()?;
    let pipe_dir = temp.path().join("pipes");
    fs::create_dir(&pipe_dir)?;
    let supervisor = Supervisor::new(temp.path().join("tallies"), pipe_dir.clone(), options.seed)?;
    let start = |deadline| Service::start(&options.service, &pipe_dir, deadline);
    let services =
        [ObservedService::new("service A", start("200ms")?), ObservedService::new("service B", start("1s")?)];
    let state = ReaderState::default();
    let mut storm = Storm {
        supervisor: &supervisor,
        services: &services,
        state: &state,
        random: Random::new(options.seed, u64::MAX),
        actions: ActionCounts::default(),
        started_at: Instant::now(),
        last_progress_at: Instant::now(),
    };
    let descriptors = storm.idle_descriptors(&[])?;
    let result = thread::scope(|scope| {
        for (idx, observed) in services.iter().enumerate() {
            for n in 0..N_CLIENTS_EACH {
                let random = Random::new(options.seed, 1_000_000 + 10 * idx as u64 + n);
                let (state, supervisor) = (&state, &supervisor);
                scope.spawn(move || poll_service(state, supervisor, observed, random));
            }
        }
        for n in 0..N_CATS {
            let random = Random::new(options.seed, 2_000_000 + n);
            let (state, supervisor) = (&state, &supervisor);
            scope.spawn(move || cat_pipes(state, supervisor, random));
        }
        let result = storm.run_phases(options.duration);
        state.is_checkpoint.store(true, Ordering::Relaxed);
        storm.end_workers();
        state.end();
        result
    });
    result?;
    storm.check_leftovers(&descriptors)?;
    storm.print_progress("(final)");
    Ok(state.findings())
}

impl Storm<'_> {
    /// Runs load phases and checkpoints in turn.
    fn run_phases(&mut self, duration: Duration) -> Result<(), Box<dyn Error>> {
        while self.started_at.elapsed() < duration && !self.state.is_full() {
            self.supervisor.tallies.set_forks_allowed(true);
            let until = Instant::now() + Duration::from_secs(2) + self.random.up_to_ms(3000);
            while Instant::now() < until && !self.state.is_full() {
                self.random_action()?;
                self.check_processes();
                thread::park_timeout(STEP);
            }
            self.supervisor.tallies.set_forks_allowed(false);
            self.checkpoint();
        }
        Ok(())
    }

    /// Possibly starts a worker, and possibly sends a random worker a signal.
    fn random_action(&mut self) -> Result<(), Box<dyn Error>> {
        let n_not_dead = self.supervisor.n_not_dead();
        self.supervisor.tallies.set_forks_allowed(n_not_dead < N_WORKERS_AND_FORKS);
        if n_not_dead < N_WORKERS && self.random.one_in(2) && self.supervisor.start()? {
            self.actions.n_started += 1;
        }
        let running = self.supervisor.running();
        let stopped: Vec<_> = running.iter().filter(|(_, is_stopped)| *is_stopped).collect();
        let Some((id, is_stopped)) = self.random.choose(&running).copied() else { return Ok(()) };
        match self.random.below(40) {
            0..3 => self.end(id, Signal::SIGKILL),
            3 => self.end(id, Signal::SIGTERM),
            4 => self.end(id, Signal::SIGINT),
            5..7 if !is_stopped && stopped.len() < MAX_STOPPED => {
                self.supervisor.stop(id);
                self.actions.n_stopped += 1;
            }
            7 => stopped.first().into_iter().for_each(|(id, _)| self.supervisor.resume(*id)),
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, id: usize, signal: Signal) {
        self.supervisor.end(id, signal);
        match signal {
            Signal::SIGKILL => self.actions.n_killed += 1,
            _ => self.actions.n_terminated += 1,
        }
    }

    /// Reaps dead workers and checks that the services run. Prints the progress from time to time.
    fn check_processes(&mut self) {
        self.supervisor.reap().into_iter().for_each(|unexpected_end| self.state.report(unexpected_end));
        for observed in self.services.iter().filter(|observed| observed.service.has_ended()) {
            let lines = observed.service.stderr_lines();
            self.state.report(format!("{} has ended; it printed: {lines:?}", observed.name));
        }
        if self.last_progress_at.elapsed() >= PROGRESS_INTERVAL {
            self.print_progress("");
        }
    }

    /// Pauses all workers and checks that everything is exact: responses, the directory, descriptors.
    fn checkpoint(&mut self) {
        let epoch = self.supervisor.tallies.next_epoch();
        self.state.is_checkpoint.store(true, Ordering::Relaxed);
        self.supervisor.running().into_iter().for_each(|(id, _)| self.supervisor.resume(id));
        if !self.wait_until(|storm| storm.supervisor.not_paused(epoch).is_empty()) {
            let not_paused = self.supervisor.not_paused(epoch);
            self.state.report(format!("neither dead nor paused with both threads: {not_paused:?}"));
        }
        for observed in self.services {
            let mut fault = String::new();
            if !self.wait_until(|storm| storm.is_exact(observed, &mut fault)) {
                self.state.report(format!("{}, while all workers pause: {fault}", observed.name));
            }
        }
        let mut fault = String::new();
        if !self.wait_until(|storm| storm.directory_is_exact(&mut fault)) {
            self.state.report(fault);
        }
        let leaks = self.supervisor.running().into_iter().filter_map(|(id, _)| self.descriptor_leak(id));
        leaks.for_each(|leak| self.state.report(leak));
        self.actions.n_checkpoints += 1;
        self.state.is_checkpoint.store(false, Ordering::Relaxed);
        self.supervisor.tallies.next_epoch();
    }

    /// Returns whether one response is exact to the last count. Sets `fault` if it is not.
    fn is_exact(&self, observed: &ObservedService, fault: &mut String) -> bool {
        let (response, expectations) = match observed.get_stats(self.supervisor) {
            Ok(checked) => checked,
            Err(err) => {
                *fault = err.to_string();
                return false;
            }
        };
        let n_running = expectations.iter().filter(|expectation| expectation.is_running).count() as u64;
        let expected = ProcessCounts { ok: n_running, ..ProcessCounts::default() };
        if let Some(violation) = verify(&response, &expectations).first() {
            *fault = describe(violation, &response, &expectations);
        } else if response.processes != expected {
            *fault = format!("found processes {}, expected {expected}", response.processes);
        } else {
            return true;
        }
        false
    }

    /// Returns whether the directory holds the pipes of the running workers and no other file. Hidden names that belong to these
    /// pipes are allowed: a swap may be in progress. Sets `fault` if it does not.
    fn directory_is_exact(&self, fault: &mut String) -> bool {
        let pid = |id: usize| self.supervisor.tallies.tally(id).pid().unwrap_or(0);
        let running = self.supervisor.running();
        let expected: BTreeSet<_> = running.into_iter().map(|(id, _)| format!("{}.stats", pid(id))).collect();
        let found = names(self.supervisor.pipe_dir());
        let is_expected = |name: &str| {
            let pipe =
                name.strip_prefix('.').and_then(|name| name.rsplit_once('.')).map_or(name, |(pipe, _)| pipe);
            expected.contains(pipe)
        };
        let left = found.iter().filter(|name| !is_expected(name)).collect::<Vec<_>>();
        let missing = expected.difference(&found).collect::<Vec<_>>();
        *fault = format!("the directory: files of dead workers: {left:?}; missing pipes: {missing:?}");
        left.is_empty() && missing.is_empty()
    }

    /// Describes a worker with more descriptors than its recorder needs. A recorder needs one descriptor of the directory
    /// for each ancestor, too.
    fn descriptor_leak(&self, id: usize) -> Option<String> {
        let pid = self.supervisor.tallies.tally(id).pid()?;
        // A worker that died in between has no descriptors.
        let found = descriptors_of(pid).ok()?;
        let dir = self.supervisor.pipe_dir().display().to_string();
        let count = |is: fn(&str, &str) -> bool| found.iter().filter(|path| is(path, &dir)).count();
        let n_events = count(|path, _| path.starts_with("anon_inode:"));
        let n_dirs = count(|path, dir| path == dir);
        let n_pipes = count(|path, dir| path != dir && path.starts_with(dir));
        let n_others = found.len() - n_events - n_dirs - n_pipes;
        let is_leak = n_events > 1
            || n_dirs > 2 + MAX_GENERATIONS as usize
            || n_pipes > MAX_PIPES_OF_WORKER
            || n_others > MAX_OTHERS_OF_WORKER;
        is_leak.then(|| format!("worker {id}, process {pid}, leaks descriptors: {found:?}"))
    }

    /// Ends all workers in random ways, and waits until the services report none.
    fn end_workers(&mut self) {
        for (id, _) in self.supervisor.running() {
            match self.random.below(3) {
                0 => self.end(id, Signal::SIGKILL),
                1 => self.end(id, Signal::SIGTERM),
                _ => self.supervisor.resume(id),
            }
        }
        self.supervisor.tallies.request_exit();
        if !self.wait_until(|storm| storm.supervisor.not_reaped().is_empty()) {
            self.state.report(format!("not ended: {:?}", self.supervisor.not_reaped()));
            self.supervisor.kill_all();
        }
        for observed in self.services {
            let mut fault = String::new();
            if !self.wait_until(|storm| storm.is_exact(observed, &mut fault)) {
                self.state.report(format!("{}, after the last worker: {fault}", observed.name));
            }
        }
    }

    /// Checks that nothing is left: no file in the directory, no descriptor of the services, no unexplained log line.
    fn check_leftovers(&mut self, descriptors: &[usize; 2]) -> Result<(), Box<dyn Error>> {
        let is_empty = |storm: &mut Self| names(storm.supervisor.pipe_dir()).is_empty();
        if !self.wait_until(is_empty) {
            self.state.report(format!("left in the directory: {:?}", names(self.supervisor.pipe_dir())));
        }
        let found = self.idle_descriptors(descriptors)?;
        if found != *descriptors {
            let found = self.services.each_ref().map(|observed| observed.service.descriptors());
            self.state.report(format!("descriptors of the services: {descriptors:?} before, now {found:?}"));
        }
        for observed in self.services {
            // A line about a pipe has the form `statvent-web: 4711.stats: what is wrong`.
            let is_explained = |line: &String| {
                line.split(": ").nth(1).is_some_and(|pipe| self.supervisor.was_interrupted(pipe))
            };
            for line in observed.service.stderr_lines().iter().filter(|line| !is_explained(line)) {
                self.state.report(format!("{} printed: {line}", observed.name));
            }
        }
        Ok(())
    }

    /// Counts the descriptors of the services while no client is connected. Waits until the numbers are as expected or,
    /// without an expectation, until they stay equal.
    fn idle_descriptors(&mut self, expected: &[usize]) -> Result<[usize; 2], Box<dyn Error>> {
        let mut n_descriptors = [0; 2];
        for (idx, observed) in self.services.iter().enumerate() {
            // The first request opens the descriptors that stay open.
            observed.service.get_stats()?;
            let mut last = usize::MAX;
            self.wait_until(|_| {
                let found = observed.service.descriptors().map_or(0, |found| found.len());
                n_descriptors[idx] = found;
                expected
                    .get(idx)
                    .map_or(found == std::mem::replace(&mut last, found), |expected| found == *expected)
            });
        }
        Ok(n_descriptors)
    }

    /// Waits until a condition holds; `false` if it does not hold within [`WAIT_DEADLINE`].
    fn wait_until(&mut self, mut holds: impl FnMut(&mut Self) -> bool) -> bool {
        let until = Instant::now() + WAIT_DEADLINE;
        loop {
            if holds(self) {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            self.check_processes();
            thread::park_timeout(STEP);
        }
    }

    fn print_progress(&mut self, mark: &str) {
        self.last_progress_at = Instant::now();
        let ActionCounts { n_started, n_killed, n_terminated, n_stopped, n_checkpoints } = self.actions;
        let n_forked = self.supervisor.tallies.n_allocated() as u64 - n_started;
        let count = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        let peaks_kib = self.services.each_ref().map(|observed| observed.service.peak_kib().unwrap_or(0));
        eprintln!(
            "storm: {:3} s: {} workers ({n_started} started, {n_forked} forked, {n_killed} killed, {n_terminated} \
             terminated, {n_stopped} stopped), {} responses verified ({} with stale processes), {} cats ({} timed \
             out), {n_checkpoints} checkpoints; slowest responses {:?}, peak memory {peaks_kib:?} KiB {mark}",
            self.started_at.elapsed().as_secs(),
            self.supervisor.n_not_dead(),
            count(&self.state.n_responses),
            count(&self.state.n_stale_responses),
            count(&self.state.n_cats),
            count(&self.state.n_cats_timed_out),
            self.services.each_ref().map(ObservedService::slowest),
        );
    }
}

/// All names in a directory, hidden ones included.
fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
