//! What a worker does: it counts with two threads, notes it in its ledger, forks, and leaves, all at random moments.
//!
//! Owns the life of one worker and of those that it forks, which are workers of their own. It is killed, stopped and
//! continued from outside. Called by `main` for the hidden option that `crowd` starts it with.
#![allow(unsafe_code, reason = "forks and signals are what is tried here")]

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

use crate::ledger::{Ledger, State};
use crate::random::Random;

/// The stat that all workers count.
pub(crate) const TOTAL: &str = "storm.total";
/// A gauge that stands at 1 in each worker.
pub(crate) const WORKERS: &str = "storm.workers";
/// The beginning of the stat that one worker alone counts; its id follows.
pub(crate) const OWN_PREFIX: &str = "storm.w.";

/// One worker in so many says more than a pipe holds.
const FAT_ONE_IN: u64 = 12;
const FAT_STATS: u32 = 2500;
/// A child has the names of all its ancestors, and a line for each.
pub(crate) const MAX_GENERATIONS: u32 = 12;
const HOLD_PAUSE: Duration = Duration::from_millis(2);

/// Where a worker finds what it needs.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) ledger: &'static Ledger,
    pub(crate) pipe_dir: &'a Path,
    pub(crate) seed: u64,
}

/// Lives as this worker, and then, in each process that it forks, as another one.
pub(crate) fn run(place: Place<'_>, id: usize) -> Result<(), Box<dyn Error>> {
    // Ignored in all that a shell without job control starts in the background, and so in the workers of a storm there.
    // SAFETY: no handler is installed.
    unsafe { signal(Signal::SIGINT, SigHandler::SigDfl) }?;
    let flags = OFlag::from_bits_retain(fcntl(io::stdin(), FcntlArg::F_GETFL)?) | OFlag::O_NONBLOCK;
    fcntl(io::stdin(), FcntlArg::F_SETFL(flags))?;
    let is_fat = Random::new(place.seed, id as u64).once_in(FAT_ONE_IN);
    if is_fat {
        (0..FAT_STATS).for_each(|n| statvent::set(format!("storm.filler.with.a.long.name.{n}"), n));
    }
    let mut id = id;
    for generation in 0.. {
        place.ledger.row(id).set_fat(is_fat);
        match live(place, id, generation)? {
            End::Return => break,
            End::Forked(child) => id = child,
        }
    }
    Ok(())
}

enum End {
    /// Returns from `main`.
    Return,
    /// This process is a fork by now, and lives as another worker.
    Forked(usize),
}

fn live(place: Place<'_>, id: usize, generation: u32) -> Result<End, Box<dyn Error>> {
    let Place { ledger, pipe_dir, seed } = place;
    let row = ledger.row(id);
    row.set_pid(process::id());
    let mut random = Random::new(seed, id as u64);
    let name = format!("{OWN_PREFIX}{id}");
    // Counted before it is published: who finds the name at 0 has found a child that inherited it.
    count(ledger, id, 0, &name);
    set!("storm.workers", 1);
    start_recorder_in(pipe_dir)?;
    spawn_counter(place, id, name.clone(), random.clone());
    row.set_state(State::Published);
    loop {
        if is_to_end(ledger) || random.once_in(1500) {
            return Ok(leave(ledger, id, &mut random));
        }
        hold(ledger, id, 0);
        (0..random.below(200)).for_each(|_| count(ledger, id, 0, &name));
        match random.below(400) {
            0 if ledger.may_fork() && generation < MAX_GENERATIONS => {
                if let Some(child) = fork_worker(ledger) {
                    return Ok(End::Forked(child));
                }
            }
            1..20 => statvent::incr(format!("storm.extra.{}", random.below(30)), 1),
            20..60 => record!("storm.seconds.{0}", random.below(1000) as f64 / 1000.0),
            _ => {}
        }
        thread::park_timeout(random.up_to_ms(12));
    }
}

/// Counts once, with the macro, a name made at run time, and the notes before and after.
fn count(ledger: &Ledger, id: usize, thread: usize, name: &str) {
    ledger.row(id).count(thread, || {
        statvent::incr(name, 1);
        incr!("storm.total");
    });
}

/// Starts the second thread that counts; it ends with the process, and a fork has its own.
fn spawn_counter(place: Place<'_>, id: usize, name: String, mut random: Random) {
    let ledger = place.ledger;
    thread::spawn(move || {
        loop {
            hold(ledger, id, 1);
            (0..random.below(200)).for_each(|_| count(ledger, id, 1, &name));
            thread::park_timeout(random.up_to_ms(15));
        }
    });
}

/// Holds still while the storm does.
fn hold(ledger: &Ledger, id: usize, thread: usize) {
    let epoch = ledger.epoch();
    while epoch % 2 == 1 && ledger.epoch() == epoch && !is_to_end(ledger) {
        ledger.row(id).hold(thread, epoch);
        thread::park_timeout(HOLD_PAUSE);
    }
}

/// Says whether the storm is over, or the one who made it is gone: standard input ends with that process.
fn is_to_end(ledger: &Ledger) -> bool {
    ledger.is_over() || read(io::stdin(), &mut [0]) == Ok(0)
}

fn leave(ledger: &Ledger, id: usize, random: &mut Random) -> End {
    ledger.row(id).set_state(State::Leaving);
    match random.below(2) {
        0 => process::exit(0),
        _ => End::Return,
    }
}

/// Forks; returns the child's id in the child.
fn fork_worker(ledger: &Ledger) -> Option<usize> {
    let child = ledger.take()?;
    // SAFETY: the child goes on as any process of this program would. Its locks are in order: those of the C library
    // and of this library are handed over, and no other thread of this program holds one.
    match unsafe { fork() } {
        Ok(ForkResult::Child) => Some(child),
        Ok(ForkResult::Parent { .. }) => None,
        Err(_) => {
            ledger.row(child).set_state(State::Void);
            None
        }
    }
}
