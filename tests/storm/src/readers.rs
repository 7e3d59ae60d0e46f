//! Who reads while the storm goes on: clients of the services, and loops of `cat`.
//!
//! Owns the order of a question: what is known before, the answer, what is known after, the judgement. What is found goes
//! to the stage's findings. Called by `storm`, each in a thread of its own.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::answer::Answer;
use crate::crowd::Crowd;
use crate::judge::{Known, Unexplained, judge};
use crate::ledger::Ledger;
use crate::random::Random;
use crate::service::Service;
use crate::worker::{OWN_PREFIX, WORKERS};

/// A `cat` that has nothing after so long waits for a process that is stopped or dead.
const CAT_DEADLINE: Duration = Duration::from_millis(250);
/// So many findings are enough.
const MAX_FINDINGS: usize = 20;

/// A service, and what it said of each worker at most.
pub(crate) struct Witness {
    pub(crate) name: &'static str,
    pub(crate) service: Service,
    said: Mutex<Vec<u64>>,
    slowest_us: AtomicU64,
}

/// What readers share.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    is_over: AtomicBool,
    /// While it is calm, `cat`s rest.
    pub(crate) is_calm: AtomicBool,
    pub(crate) n_answers: AtomicU64,
    pub(crate) n_stale_answers: AtomicU64,
    pub(crate) n_cats: AtomicU64,
    pub(crate) n_cats_in_vain: AtomicU64,
    findings: Mutex<Vec<String>>,
}

impl Stage {
    /// Adds what cannot be explained, and says it at once; what was said before is not said again.
    pub(crate) fn complain(&self, finding: String) {
        let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        if findings.len() < MAX_FINDINGS && !findings.contains(&finding) {
            eprintln!("storm: not explained: {finding}");
            findings.push(finding);
        }
    }

    /// Says whether there is enough to see what is wrong.
    pub(crate) fn is_lost(&self) -> bool {
        self.findings().len() >= MAX_FINDINGS
    }

    pub(crate) fn findings(&self) -> Vec<String> {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends the readers home.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

impl Witness {
    pub(crate) fn new(name: &'static str, service: Service) -> Self {
        Self { name, service, said: Mutex::default(), slowest_us: AtomicU64::new(0) }
    }

    /// Asks once; returns the answer and what was known of the workers around it.
    pub(crate) fn ask(&self, crowd: &Crowd) -> std::io::Result<(Answer, Vec<Known>)> {
        let before = crowd.before(&self.said.lock().unwrap_or_else(PoisonError::into_inner));
        let asked_at = Instant::now();
        let answer = self.service.ask()?;
        self.slowest_us.fetch_max(asked_at.elapsed().as_micros() as u64, Ordering::Relaxed);
        let known = crowd.after(before);
        self.remember(&answer);
        Ok((answer, known))
    }

    /// The longest time that an answer took.
    pub(crate) fn slowest(&self) -> Duration {
        Duration::from_micros(self.slowest_us.load(Ordering::Relaxed))
    }

    fn remember(&self, answer: &Answer) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, count) in &answer.own {
            if said.len() <= *id {
                said.resize(id + 1, 0);
            }
            said[*id] = said[*id].max(*count);
        }
    }
}

/// Asks a service again and again, and has every answer explained.
pub(crate) fn ask_again_and_again(stage: &Stage, crowd: &Crowd, witness: &Witness, mut random: Random) {
    while !stage.is_over() {
        match witness.ask(crowd) {
            Ok((answer, known)) => {
                stage.n_answers.fetch_add(1, Ordering::Relaxed);
                stage.n_stale_answers.fetch_add((answer.counts.stale > 0).into(), Ordering::Relaxed);
                for unexplained in judge(&answer, &known) {
                    stage.complain(format!("{}: {}", witness.name, describe(&unexplained, &answer, &known)));
                }
            }
            Err(err) => {
                stage.complain(format!("{}: {err}", witness.name));
                return;
            }
        }
        thread::park_timeout(random.up_to_ms(8));
    }
}

/// Says what is wrong, with all that is known of the first worker that it concerns.
pub(crate) fn describe(unexplained: &Unexplained, answer: &Answer, known: &[Known]) -> String {
    let id = match unexplained {
        Unexplained::Lost { ids, .. } | Unexplained::Old { ids, .. } => ids.first().copied(),
        Unexplained::TooMuch { id, .. } | Unexplained::Backwards { id, .. } => Some(*id),
        _ => None,
    };
    let Some(id) = id else { return unexplained.to_string() };
    let found = answer.own.get(&id).copied().unwrap_or(0);
    format!("{unexplained} (of worker {id}: {found} answered, known: {:?})", known.get(id))
}

/// Reads pipes by `cat`, one after the other.
pub(crate) fn cat_again_and_again(stage: &Stage, crowd: &Crowd, mut random: Random) {
    while !stage.is_over() {
        thread::park_timeout(random.up_to_ms(20));
        let is_calm = stage.is_calm.load(Ordering::Relaxed);
        let Some(path) = random.choose(&pipes(crowd.pipe_dir())).filter(|_| !is_calm).cloned() else {
            continue;
        };
        // Who has this pipe's pid, and how much it had counted before.
        let worker = pid_of(&path).and_then(|pid| find(crowd.ledger, pid));
        let lower = worker.map_or(0, |id| crowd.ledger.row(id).lower());
        let Some(text) = cat(&path) else {
            stage.n_cats_in_vain.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        stage.n_cats.fetch_add(1, Ordering::Relaxed);
        let Some(id) = worker.filter(|id| !crowd.ledger.row(*id).is_fat()) else { continue };
        if let Some(fault) = fault_of(&text, id, lower, crowd.ledger.row(id).upper()) {
            stage.complain(format!("cat {}: worker {id}: {fault}: {text:?}", path.display()));
        }
    }
}

/// The pipes of the directory.
pub(crate) fn pipes(pipe_dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(pipe_dir).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "stats"))
        .collect()
}

fn pid_of(path: &Path) -> Option<u32> {
    path.file_stem()?.to_str()?.parse().ok()
}

fn find(ledger: &Ledger, pid: u32) -> Option<usize> {
    (0..ledger.n_taken()).rev().find(|id| ledger.row(*id).pid() == Some(pid))
}

/// What `cat` prints of a pipe; `None` if it waits in vain.
fn cat(path: &Path) -> Option<String> {
    let mut command = Command::new("cat");
    command.arg(path).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut cat = command.spawn().ok()?;
    let mut stdout = cat.stdout.take()?;
    let (say, said) = channel();
    thread::spawn(move || {
        let mut text = String::new();
        let is_read = stdout.read_to_string(&mut text).is_ok();
        say.send(is_read.then_some(text))
    });
    let text = said.recv_timeout(CAT_DEADLINE).ok().flatten();
    let _ = cat.kill();
    let is_well = cat.wait().is_ok_and(|status| status.success());
    text.filter(|_| is_well)
}

/// What is wrong with a snapshot that is written in one piece. Another reader can have taken it: all of it.
fn fault_of(text: &str, id: usize, lower: u64, upper: u64) -> Option<&'static str> {
    if text.is_empty() {
        return None;
    }
    let value =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok());
    if !text.ends_with('\n') || value(WORKERS) != Some(1) {
        return Some("not whole");
    }
    match value(&format!("{OWN_PREFIX}{id}")) {
        Some(count) if (lower..=upper).contains(&count) => None,
        _ => Some("not what it counted"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_whole_and_fresh_or_not_there() {
        let whole = "storm.w.3: 7\nstorm.total: 7\nstorm.workers: 1\n";
        assert_eq!(fault_of(whole, 3, 7, 7), None);
        assert_eq!(fault_of("", 3, 7, 7), None);
        assert_eq!(fault_of(whole, 3, 8, 9), Some("not what it counted"));
        assert_eq!(fault_of(whole, 3, 5, 6), Some("not what it counted"));
        assert_eq!(fault_of(whole, 4, 7, 7), Some("not what it counted"));
        assert_eq!(fault_of(&whole[..20], 3, 7, 7), Some("not whole"));
        assert_eq!(fault_of(&whole[..whole.len() - 1], 3, 7, 7), Some("not whole"));
    }

    #[test]
    fn the_pid_is_that_of_the_name() {
        assert_eq!(pid_of(Path::new("/run/pipes/4711.stats")), Some(4711));
        assert_eq!(pid_of(Path::new("/run/pipes/4711-1.stats")), None);
    }
}
