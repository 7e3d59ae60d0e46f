//! The storm: its phases, and what has to hold in each.
//!
//! Owns what is done to the workers and when: storms of a few seconds, calms in which everything has to be exact, and the
//! end, after which nothing may be left. Who reads is `readers`', who is read is `crowd`'s. Called by `main`.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::Signal;

use crate::answer::Counts;
use crate::crowd::Crowd;
use crate::judge::judge;
use crate::random::Random;
use crate::readers::{Stage, Witness, ask_again_and_again, cat_again_and_again, describe};
use crate::service::{Service, descriptors_of};
use crate::worker::MAX_GENERATIONS;

/// So many workers live, more or less.
const N_WORKERS: usize = 30;
/// Forks are allowed up to so many.
const N_WORKERS_AND_FORKS: usize = 45;
const N_CLIENTS_EACH: u64 = 2;
const N_CATS: u64 = 2;
const MAX_STOPPED: usize = 4;
/// A recorder keeps 64 retired pipes at most, and has two more in hand.
const MAX_PIPES_OF_WORKER: usize = 66;
/// What a worker is started with, and a file or two that it has open for a moment.
const MAX_OTHERS_OF_WORKER: usize = 8;
const TELL_EVERY: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(10);
/// How long workers and services may take to come to what has to hold, on a busy machine.
const SETTLE_DEADLINE: Duration = Duration::from_secs(60);

/// What to do.
pub(crate) struct Options {
    pub(crate) service: PathBuf,
    pub(crate) seed: u64,
    pub(crate) duration: Duration,
}

/// What was done to workers.
#[derive(Debug, Default)]
struct Deeds {
    n_started: u64,
    n_killed: u64,
    n_terminated: u64,
    n_stopped: u64,
    n_calms: u64,
}

struct Storm<'a> {
    crowd: &'a Crowd,
    witnesses: &'a [Witness; 2],
    stage: &'a Stage,
    random: Random,
    deeds: Deeds,
    begun_at: Instant,
    told_at: Instant,
}

/// Makes a storm; returns what no ledger explains.
pub(crate) fn run(options: &Options) -> Result<Vec<String>, Box<dyn Error>> {
    // Orphans become ours, so that no pid is used again before we know that its process is dead.
    set_child_subreaper(true)?;
    let temp = tempfile::Builder::new().prefix("statvent-storm-").tempdir()?;
    let pipe_dir = temp.path().join("pipes");
    fs::create_dir(&pipe_dir)?;
    let crowd = Crowd::new(temp.path().join("ledger"), pipe_dir.clone(), options.seed)?;
    let start = |deadline| Service::start(&options.service, &pipe_dir, deadline);
    let witnesses = [Witness::new("service A", start("200ms")?), Witness::new("service B", start("1s")?)];
    let stage = Stage::default();
    let mut storm = Storm {
        crowd: &crowd,
        witnesses: &witnesses,
        stage: &stage,
        random: Random::new(options.seed, u64::MAX),
        deeds: Deeds::default(),
        begun_at: Instant::now(),
        told_at: Instant::now(),
    };
    let descriptors = storm.descriptors_at_rest(&[])?;
    let made = thread::scope(|scope| {
        for (idx, witness) in witnesses.iter().enumerate() {
            for n in 0..N_CLIENTS_EACH {
                let random = Random::new(options.seed, 1_000_000 + 10 * idx as u64 + n);
                let (stage, crowd) = (&stage, &crowd);
                scope.spawn(move || ask_again_and_again(stage, crowd, witness, random));
            }
        }
        for n in 0..N_CATS {
            let random = Random::new(options.seed, 2_000_000 + n);
            let (stage, crowd) = (&stage, &crowd);
            scope.spawn(move || cat_again_and_again(stage, crowd, random));
        }
        let made = storm.rage(options.duration);
        stage.is_calm.store(true, Ordering::Relaxed);
        storm.end_workers();
        stage.end();
        made
    });
    made?;
    storm.look_for_rests(&descriptors)?;
    storm.tell("the end");
    Ok(stage.findings())
}

impl Storm<'_> {
    /// Storms and calms in turn.
    fn rage(&mut self, duration: Duration) -> Result<(), Box<dyn Error>> {
        while self.begun_at.elapsed() < duration && !self.stage.is_lost() {
            self.crowd.ledger.let_fork(true);
            let until = Instant::now() + Duration::from_secs(2) + self.random.up_to_ms(3000);
            while Instant::now() < until && !self.stage.is_lost() {
                self.stir()?;
                self.look();
                thread::park_timeout(STEP);
            }
            self.crowd.ledger.let_fork(false);
            self.calm();
        }
        Ok(())
    }

    /// Does something to somebody.
    fn stir(&mut self) -> Result<(), Box<dyn Error>> {
        let n_undead = self.crowd.n_undead();
        self.crowd.ledger.let_fork(n_undead < N_WORKERS_AND_FORKS);
        if n_undead < N_WORKERS && self.random.once_in(2) && self.crowd.start()? {
            self.deeds.n_started += 1;
        }
        let living = self.crowd.living();
        let stopped: Vec<_> = living.iter().filter(|(_, is_stopped)| *is_stopped).collect();
        let Some((id, is_stopped)) = self.random.choose(&living).copied() else { return Ok(()) };
        match self.random.below(40) {
            0..3 => self.end(id, Signal::SIGKILL),
            3 => self.end(id, Signal::SIGTERM),
            4 => self.end(id, Signal::SIGINT),
            5..7 if !is_stopped && stopped.len() < MAX_STOPPED => {
                self.crowd.stop(id);
                self.deeds.n_stopped += 1;
            }
            7 => stopped.first().into_iter().for_each(|(id, _)| self.crowd.go_on(*id)),
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, id: usize, signal: Signal) {
        self.crowd.end(id, signal);
        match signal {
            Signal::SIGKILL => self.deeds.n_killed += 1,
            _ => self.deeds.n_terminated += 1,
        }
    }

    /// Looks who died and whether the services live, and says now and then how it goes.
    fn look(&mut self) {
        self.crowd.look().into_iter().for_each(|odd_end| self.stage.complain(odd_end));
        for witness in self.witnesses.iter().filter(|witness| witness.service.has_ended()) {
            self.stage.complain(format!("{} has ended: {:?}", witness.name, witness.service.said()));
        }
        if self.told_at.elapsed() >= TELL_EVERY {
            self.tell("");
        }
    }

    /// Has everybody hold still, and every answer be exact: who counted what, and who is there.
    fn calm(&mut self) {
        let epoch = self.crowd.ledger.next_epoch();
        self.stage.is_calm.store(true, Ordering::Relaxed);
        self.crowd.living().into_iter().for_each(|(id, _)| self.crowd.go_on(id));
        if !self.settles(|storm| storm.crowd.restless(epoch).is_empty()) {
            let restless = self.crowd.restless(epoch);
            self.stage.complain(format!("neither dead nor holding still, with two threads: {restless:?}"));
        }
        for witness in self.witnesses {
            let mut fault = String::new();
            if !self.settles(|storm| storm.is_exact(witness, &mut fault)) {
                self.stage.complain(format!("{}, while all workers hold still: {fault}", witness.name));
            }
        }
        let mut fault = String::new();
        if !self.settles(|storm| storm.has_pipes_of_the_living(&mut fault)) {
            self.stage.complain(fault);
        }
        let leaks = self.crowd.living().into_iter().filter_map(|(id, _)| self.leak_of(id));
        leaks.for_each(|leak| self.stage.complain(leak));
        self.deeds.n_calms += 1;
        self.stage.is_calm.store(false, Ordering::Relaxed);
        self.crowd.ledger.next_epoch();
    }

    /// Asks once; the answer has to be exact to the last count.
    fn is_exact(&self, witness: &Witness, fault: &mut String) -> bool {
        let (answer, known) = match witness.ask(self.crowd) {
            Ok(asked) => asked,
            Err(err) => {
                *fault = err.to_string();
                return false;
            }
        };
        let n_living = known.iter().filter(|known| known.is_alive).count() as u64;
        let expected = Counts { ok: n_living, ..Counts::default() };
        if let Some(unexplained) = judge(&answer, &known).first() {
            *fault = describe(unexplained, &answer, &known);
        } else if answer.counts != expected {
            *fault = format!("{}, expected {expected}", answer.counts);
        } else {
            return true;
        }
        false
    }

    /// Whether the directory holds the pipes of the living and nothing else, but for what those are making just now.
    fn has_pipes_of_the_living(&self, fault: &mut String) -> bool {
        let pid = |id: usize| self.crowd.ledger.row(id).pid().unwrap_or(0);
        let living = self.crowd.living();
        let expected: BTreeSet<_> = living.into_iter().map(|(id, _)| format!("{}.stats", pid(id))).collect();
        let found = names(self.crowd.pipe_dir());
        let is_theirs = |name: &str| {
            let pipe =
                name.strip_prefix('.').and_then(|name| name.rsplit_once('.')).map_or(name, |(pipe, _)| pipe);
            expected.contains(pipe)
        };
        let left = found.iter().filter(|name| !is_theirs(name)).collect::<Vec<_>>();
        let missing = expected.difference(&found).collect::<Vec<_>>();
        *fault = format!("the directory: left of the dead: {left:?}; missing of the living: {missing:?}");
        left.is_empty() && missing.is_empty()
    }

    /// Says what descriptors a worker has beyond its recorder's, and that of the directory for each worker that it descends
    /// from.
    fn leak_of(&self, id: usize) -> Option<String> {
        let pid = self.crowd.ledger.row(id).pid()?;
        // One that is dead by now has none.
        let found = descriptors_of(pid).ok()?;
        let dir = self.crowd.pipe_dir().display().to_string();
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

    /// Ends all workers, each in some way, and has the services find out.
    fn end_workers(&mut self) {
        for (id, _) in self.crowd.living() {
            match self.random.below(3) {
                0 => self.end(id, Signal::SIGKILL),
                1 => self.end(id, Signal::SIGTERM),
                _ => self.crowd.go_on(id),
            }
        }
        self.crowd.ledger.end();
        if !self.settles(|storm| storm.crowd.unreaped().is_empty()) {
            self.stage.complain(format!("not ended: {:?}", self.crowd.unreaped()));
            self.crowd.kill_all();
        }
        for witness in self.witnesses {
            let mut fault = String::new();
            if !self.settles(|storm| storm.is_exact(witness, &mut fault)) {
                self.stage.complain(format!("{}, after the last worker: {fault}", witness.name));
            }
        }
    }

    /// Looks for what must not be left: files in the directory, descriptors and words of the services.
    fn look_for_rests(&mut self, descriptors: &[usize; 2]) -> Result<(), Box<dyn Error>> {
        let is_empty = |storm: &mut Self| names(storm.crowd.pipe_dir()).is_empty();
        if !self.settles(is_empty) {
            self.stage.complain(format!("left in the directory: {:?}", names(self.crowd.pipe_dir())));
        }
        let at_rest = self.descriptors_at_rest(descriptors)?;
        if at_rest != *descriptors {
            let found = self.witnesses.each_ref().map(|witness| witness.service.descriptors());
            self.stage
                .complain(format!("descriptors of the services: {descriptors:?} before, now {found:?}"));
        }
        for witness in self.witnesses {
            // Of a pipe it says `statvent-web: 4711.stats: what is wrong`.
            let is_explained =
                |line: &String| line.split(": ").nth(1).is_some_and(|pipe| self.crowd.was_disturbed(pipe));
            for line in witness.service.said().iter().filter(|line| !is_explained(line)) {
                self.stage.complain(format!("{} says: {line}", witness.name));
            }
        }
        Ok(())
    }

    /// Counts the services' descriptors while nobody is connected: once they are as expected, or do not change.
    fn descriptors_at_rest(&mut self, expected: &[usize]) -> Result<[usize; 2], Box<dyn Error>> {
        let mut n_descriptors = [0; 2];
        for (idx, witness) in self.witnesses.iter().enumerate() {
            // The first answer opens what is kept open.
            witness.service.ask()?;
            let mut last = usize::MAX;
            self.settles(|_| {
                let found = witness.service.descriptors().map_or(0, |found| found.len());
                n_descriptors[idx] = found;
                expected
                    .get(idx)
                    .map_or(found == std::mem::replace(&mut last, found), |expected| found == *expected)
            });
        }
        Ok(n_descriptors)
    }

    /// Waits until something holds; `false` if it does not come to hold.
    fn settles(&mut self, mut holds: impl FnMut(&mut Self) -> bool) -> bool {
        let until = Instant::now() + SETTLE_DEADLINE;
        loop {
            if holds(self) {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            self.look();
            thread::park_timeout(STEP);
        }
    }

    fn tell(&mut self, when: &str) {
        self.told_at = Instant::now();
        let Deeds { n_started, n_killed, n_terminated, n_stopped, n_calms } = self.deeds;
        let n_forked = self.crowd.ledger.n_taken() as u64 - n_started;
        let count = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        let peaks_kib = self.witnesses.each_ref().map(|witness| witness.service.peak_kib().unwrap_or(0));
        eprintln!(
            "storm: {:3} s: {} workers ({n_started} started, {n_forked} forked, {n_killed} killed, {n_terminated} \
             terminated, {n_stopped} stopped), {} answers explained ({} of them \
             with stale processes), {} cats (and {} in vain), {n_calms} calms; the \
             services' slowest answers {:?}, and their memory at most {peaks_kib:?} KiB {when}",
            self.begun_at.elapsed().as_secs(),
            self.crowd.n_undead(),
            count(&self.stage.n_answers),
            count(&self.stage.n_stale_answers),
            count(&self.stage.n_cats),
            count(&self.stage.n_cats_in_vain),
            self.witnesses.each_ref().map(Witness::slowest),
        );
    }
}

/// All names in a directory, those that begin with a dot as well.
fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
