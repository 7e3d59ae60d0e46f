//! The readers of a storm: HTTP clients of the services, and loops that `cat` pipes.
//!
//! Owns the order of a check: expectations before the request, the response, expectations after it, the verification.
//! Violations become findings. Each reader runs in its own thread.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::random::Random;
use crate::response::Response;
use crate::service::Service;
use crate::supervisor::Supervisor;
use crate::tally::Tallies;
use crate::verify::{Expectation, Violation, verify};
use crate::worker::{OWN_PREFIX, WORKERS};

/// 250 ms: a `cat` that read nothing by then waits for a process that is stopped or dead.
const CAT_DEADLINE: Duration = Duration::from_millis(250);
/// 20 findings are enough to see what is wrong; more would be repetitions.
const MAX_FINDINGS: usize = 20;

/// A service, and the highest count of each worker that it has reported.
pub(crate) struct ObservedService {
    pub(crate) name: &'static str,
    pub(crate) service: Service,
    reported: Mutex<Vec<u64>>,
    slowest_us: AtomicU64,
}

/// The state that all readers share: flags of the storm, counters and findings.
#[derive(Debug, Default)]
pub(crate) struct ReaderState {
    is_over: AtomicBool,
    /// No `cat` starts during a checkpoint.
    pub(crate) is_checkpoint: AtomicBool,
    pub(crate) n_responses: AtomicU64,
    pub(crate) n_stale_responses: AtomicU64,
    pub(crate) n_cats: AtomicU64,
    pub(crate) n_cats_timed_out: AtomicU64,
    findings: Mutex<Vec<String>>,
}

impl ReaderState {
    /// Adds a finding and prints it at once. Skips one that is known already.
    pub(crate) fn report(&self, finding: String) {
        let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        if findings.len() < MAX_FINDINGS && !findings.contains(&finding) {
            eprintln!("storm: not explained: {finding}");
            findings.push(finding);
        }
    }

    /// Returns whether there are enough findings to end the storm early.
    pub(crate) fn is_full(&self) -> bool {
        self.findings().len() >= MAX_FINDINGS
    }

    pub(crate) fn findings(&self) -> Vec<String> {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks all readers to end.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

impl ObservedService {
    pub(crate) fn new(name: &'static str, service: Service) -> Self {
        Self { name, service, reported: Mutex::default(), slowest_us: AtomicU64::new(0) }
    }

    /// Requests the stats once. Returns the response and the expectation of each worker.
    pub(crate) fn get_stats(&self, supervisor: &Supervisor) -> std::io::Result<(Response, Vec<Expectation>)> {
        let expectations =
            supervisor.expect_before(&self.reported.lock().unwrap_or_else(PoisonError::into_inner));
        let requested_at = Instant::now();
        let response = self.service.get_stats()?;
        self.slowest_us.fetch_max(requested_at.elapsed().as_micros() as u64, Ordering::Relaxed);
        let expectations = supervisor.expect_after(expectations);
        self.remember(&response);
        Ok((response, expectations))
    }

    /// Returns the longest time that a response took.
    pub(crate) fn slowest(&self) -> Duration {
        Duration::from_micros(self.slowest_us.load(Ordering::Relaxed))
    }

    fn remember(&self, response: &Response) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, count) in &response.own {
            if reported.len() <= *id {
                reported.resize(id + 1, 0);
            }
            reported[*id] = reported[*id].max(*count);
        }
    }
}

/// Requests the stats of a service in a loop and verifies every response.
pub(crate) fn poll_service(
    state: &ReaderState,
    supervisor: &Supervisor,
    observed: &ObservedService,
    mut random: Random,
) {
    while !state.is_over() {
        match observed.get_stats(supervisor) {
            Ok((response, expectations)) => {
                state.n_responses.fetch_add(1, Ordering::Relaxed);
                state.n_stale_responses.fetch_add((response.processes.stale > 0).into(), Ordering::Relaxed);
                for violation in verify(&response, &expectations) {
                    let finding = describe(&violation, &response, &expectations);
                    state.report(format!("{}: {finding}", observed.name));
                }
            }
            Err(err) => {
                state.report(format!("{}: {err}", observed.name));
                return;
            }
        }
        thread::park_timeout(random.up_to_ms(8));
    }
}

/// Formats a violation with all that is known of the first worker that it concerns.
pub(crate) fn describe(violation: &Violation, response: &Response, expectations: &[Expectation]) -> String {
    let id = match violation {
        Violation::Missing { ids, .. } | Violation::Outdated { ids, .. } => ids.first().copied(),
        Violation::TooHigh { id, .. } | Violation::Backwards { id, .. } => Some(*id),
        _ => None,
    };
    let Some(id) = id else { return violation.to_string() };
    let found = response.own.get(&id).copied().unwrap_or(0);
    format!("{violation} (worker {id}: found {found}, expectation: {:?})", expectations.get(id))
}

/// Reads random pipes with `cat` in a loop and checks every snapshot.
pub(crate) fn cat_pipes(state: &ReaderState, supervisor: &Supervisor, mut random: Random) {
    let tallies = supervisor.tallies;
    while !state.is_over() {
        thread::park_timeout(random.up_to_ms(20));
        let is_checkpoint = state.is_checkpoint.load(Ordering::Relaxed);
        let Some(path) = random.choose(&pipes(supervisor.pipe_dir())).filter(|_| !is_checkpoint).cloned()
        else {
            continue;
        };
        // The worker with the pid of this pipe, and the least that it has counted by now.
        let worker = pid_in(&path).and_then(|pid| find(tallies, pid));
        let lower = worker.map_or(0, |id| tallies.tally(id).lower());
        let Some(text) = cat(&path) else {
            state.n_cats_timed_out.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        state.n_cats.fetch_add(1, Ordering::Relaxed);
        let Some(id) = worker.filter(|id| !tallies.tally(*id).has_large_snapshot()) else { continue };
        if let Some(fault) = snapshot_fault(&text, id, lower, tallies.tally(id).upper()) {
            state.report(format!("cat {}: worker {id}: {fault}: {text:?}", path.display()));
        }
    }
}

/// Returns the pipes of the directory.
fn pipes(pipe_dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(pipe_dir).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "stats"))
        .collect()
}

fn pid_in(path: &Path) -> Option<u32> {
    path.file_stem()?.to_str()?.parse().ok()
}

fn find(tallies: &Tallies, pid: u32) -> Option<usize> {
    (0..tallies.n_allocated()).rev().find(|id| tallies.tally(*id).pid() == Some(pid))
}

/// Returns what `cat` prints of a pipe; `None` if it failed or ran into its deadline.
fn cat(path: &Path) -> Option<String> {
    let mut command = Command::new("cat");
    command.arg(path).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut cat = command.spawn().ok()?;
    let mut stdout = cat.stdout.take()?;
    let (text_sender, text) = channel();
    thread::spawn(move || {
        let mut text = String::new();
        let is_read = stdout.read_to_string(&mut text).is_ok();
        text_sender.send(is_read.then_some(text))
    });
    let text = text.recv_timeout(CAT_DEADLINE).ok().flatten();
    let _ = cat.kill();
    let has_succeeded = cat.wait().is_ok_and(|status| status.success());
    text.filter(|_| has_succeeded)
}

/// Returns what is wrong with a snapshot that is written in one piece. It may be empty: then another reader got it, whole.
fn snapshot_fault(text: &str, id: usize, lower: u64, upper: u64) -> Option<&'static str> {
    if text.is_empty() {
        return None;
    }
    let value =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok());
    if !text.ends_with('\n') || value(WORKERS) != Some(1) {
        return Some("not complete");
    }
    match value(&format!("{OWN_PREFIX}{id}")) {
        Some(count) if (lower..=upper).contains(&count) => None,
        _ => Some("another count than in its tally"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_complete_and_fresh_or_empty() {
        let complete = "storm.w.3: 7\nstorm.total: 7\nstorm.workers: 1\n";
        assert_eq!(snapshot_fault(complete, 3, 7, 7), None);
        assert_eq!(snapshot_fault("", 3, 7, 7), None);
        assert_eq!(snapshot_fault(complete, 3, 8, 9), Some("another count than in its tally"));
        assert_eq!(snapshot_fault(complete, 3, 5, 6), Some("another count than in its tally"));
        assert_eq!(snapshot_fault(complete, 4, 7, 7), Some("another count than in its tally"));
        assert_eq!(snapshot_fault(&complete[..20], 3, 7, 7), Some("not complete"));
        assert_eq!(snapshot_fault(&complete[..complete.len() - 1], 3, 7, 7), Some("not complete"));
    }

    #[test]
    fn the_pid_comes_from_the_file_name() {
        assert_eq!(pid_in(Path::new("/run/pipes/4711.stats")), Some(4711));
        assert_eq!(pid_in(Path::new("/run/pipes/4711-1.stats")), None);
    }
}
