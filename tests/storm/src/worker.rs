//! The worker process: two counting threads, a tally, and forks and exits at random moments.
//!
//! Owns the life of one worker and of its forks, which are workers themselves. The supervisor kills, stops and continues
//! it from outside.
#![allow(unsafe_code, reason = "the storm tests forks and signals")]

use std::error::Error;
use std::io;
use std::path::Path;
use std::process;
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::{ForkResult, fork, read};
use statvent::{incr, record, set, start_recorder_in};

use crate::random::Random;
use crate::tally::{State, Tallies};

/// The stat that all workers count.
pub(crate) const TOTAL: &str = "storm.total";
/// A gauge that is 1 in each worker.
pub(crate) const WORKERS: &str = "storm.workers";
/// The prefix of the stat that only one worker counts; its id follows.
pub(crate) const OWN_PREFIX: &str = "storm.w.";

/// One worker in 12 has a snapshot that is larger than the capacity of a pipe.
const LARGE_ONE_IN: u64 = 12;
/// 2500 lines of more than 30 bytes: more than the 64 KiB of a pipe.
const LARGE_N_STATS: u32 = 2500;
/// 12: a child has the names of all its ancestors, so each generation adds a line to its snapshot.
pub(crate) const MAX_GENERATIONS: u32 = 12;
/// 2 ms: short beside the seconds between two checkpoints.
const PAUSE_STEP: Duration = Duration::from_millis(2);

/// What each worker of a storm is started with.
#[derive(Clone, Copy)]
pub(crate) struct WorkerConfig<'a> {
    pub(crate) tallies: &'static Tallies,
    pub(crate) pipe_dir: &'a Path,
    pub(crate) seed: u64,
}

/// Runs as this worker. In each process that it forks, runs as the next one.
pub(crate) fn run(config: WorkerConfig<'_>, id: usize) -> Result<(), Box<dyn Error>> {
    // A shell without job control starts background processes with SIGINT ignored, and workers inherit that.
    // SAFETY: no handler is installed.
    unsafe { signal(Signal::SIGINT, SigHandler::SigDfl) }?;
    let flags = OFlag::from_bits_retain(fcntl(io::stdin(), FcntlArg::F_GETFL)?) | OFlag::O_NONBLOCK;
    fcntl(io::stdin(), FcntlArg::F_SETFL(flags))?;
    let is_large = Random::new(config.seed, id as u64).one_in(LARGE_ONE_IN);
    if is_large {
        (0..LARGE_N_STATS).for_each(|n| statvent::set(format!("storm.filler.with.a.long.name.{n}"), n));
    }
    let mut id = id;
    for generation in 0.. {
        config.tallies.tally(id).set_large_snapshot(is_large);
        match run_generation(config, id, generation)? {
            Next::Return => break,
            Next::RunAsChild(child) => id = child,
        }
    }
    Ok(())
}

enum Next {
    /// Return from `main`.
    Return,
    /// This process is a forked child: run as the worker with this id.
    RunAsChild(usize),
}

fn run_generation(config: WorkerConfig<'_>, id: usize, generation: u32) -> Result<Next, Box<dyn Error>> {
    let WorkerConfig { tallies, pipe_dir, seed } = config;
    let tally = tallies.tally(id);
    tally.set_pid(process::id());
    let mut random = Random::new(seed, id as u64);
    let name = format!("{OWN_PREFIX}{id}");
    // Counts before it publishes, so a value of 0 always comes from a child that inherited the name.
    count(tallies, id, 0, &name);
    set!("storm.workers", 1);
    start_recorder_in(pipe_dir)?;
    spawn_counter(config, id, name.clone(), random.clone());
    tally.set_state(State::Published);
    loop {
        if must_exit(tallies) || random.one_in(1500) {
            return Ok(exit_or_return(tallies, id, &mut random));
        }
        pause_in_checkpoint(tallies, id, 0);
        (0..random.below(200)).for_each(|_| count(tallies, id, 0, &name));
        match random.below(400) {
            0 if tallies.forks_allowed() && generation < MAX_GENERATIONS => {
                if let Some(child) = fork_worker(tallies) {
                    return Ok(Next::RunAsChild(child));
                }
            }
            1..20 => statvent::incr(format!("storm.extra.{}", random.below(30)), 1),
            20..60 => record!("storm.seconds.{0}", random.below(1000) as f64 / 1000.0),
            _ => {}
        }
        thread::park_timeout(random.up_to_ms(12));
    }
}

/// Counts once: the worker's own stat by a run-time name, the stat of all by the macro, and both in the tally.
fn count(tallies: &Tallies, id: usize, thread: usize, name: &str) {
    tallies.tally(id).count(thread, || {
        statvent::incr(name, 1);
        incr!("storm.total");
    });
}

/// Starts the second counting thread. It ends with the process; a forked child starts its own.
fn spawn_counter(config: WorkerConfig<'_>, id: usize, name: String, mut random: Random) {
    let tallies = config.tallies;
    thread::spawn(move || {
        loop {
            pause_in_checkpoint(tallies, id, 1);
            (0..random.below(200)).for_each(|_| count(tallies, id, 1, &name));
            thread::park_timeout(random.up_to_ms(15));
        }
    });
}

/// Pauses the calling thread until the storm's checkpoint is over.
fn pause_in_checkpoint(tallies: &Tallies, id: usize, thread: usize) {
    let epoch = tallies.epoch();
    while epoch % 2 == 1 && tallies.epoch() == epoch && !must_exit(tallies) {
        tallies.tally(id).set_paused(thread, epoch);
        thread::park_timeout(PAUSE_STEP);
    }
}

/// Returns whether the storm is over or its process is dead. Standard input reaches its end when that process dies.
fn must_exit(tallies: &Tallies) -> bool {
    tallies.exit_requested() || read(io::stdin(), &mut [0]) == Ok(0)
}

fn exit_or_return(tallies: &Tallies, id: usize, random: &mut Random) -> Next {
    tallies.tally(id).set_state(State::Exiting);
    match random.below(2) {
        0 => process::exit(0),
        _ => Next::Return,
    }
}

/// Forks. Returns the id of the child in the child, and `None` in the parent.
fn fork_worker(tallies: &Tallies) -> Option<usize> {
    let child = tallies.allocate()?;
    // SAFETY: the child runs as any process of this program does. Its locks are usable: the C library and statvent
    // hand theirs over at a fork, and no other thread of this program holds a lock.
    match unsafe { fork() } {
        Ok(ForkResult::Child) => Some(child),
        Ok(ForkResult::Parent { .. }) => None,
        Err(_) => {
            tallies.tally(child).set_state(State::Unused);
            None
        }
    }
}
