//! Tests of removal: single cases, and a model that takes all steps in every order.

use super::*;
use crate::process::fork::{NoForks, no_forks};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use std::fs::{self, File};
use std::os::fd::OwnedFd;

fn pipe_dir() -> (tempfile::TempDir, PipeDir, NoForks) {
    // On a file system in memory the steps take a third of the time.
    let temp = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let dir = PipeDir::open(temp.path()).unwrap();
    (temp, dir, no_forks())
}

/// Runs a removal from `removal` to its end.
fn finish(mut removal: Removal, dir: &PipeDir, dead: FileId) -> io::Result<bool> {
    loop {
        match removal.step(dir, "1.stats".as_ref(), dead)? {
            Removal::Done { is_gone } => return Ok(is_gone),
            next => removal = next,
        }
    }
}

#[test]
fn a_dead_pipe_is_removed_and_nothing_is_left() {
    let (temp, dir, _no_forks) = pipe_dir();
    let dead = File::create(temp.path().join("1.stats")).unwrap();
    assert!(remove_dead(&dir, "1.stats".as_ref(), &dead).unwrap());
    assert!(dir.names().unwrap().is_empty());
    assert!(remove_dead(&dir, "1.stats".as_ref(), &dead).unwrap());
}

#[test]
fn a_name_that_refers_to_another_file_stays() {
    let (temp, dir, _no_forks) = pipe_dir();
    let dead = File::create(temp.path().join("1.stats")).unwrap();
    fs::write(temp.path().join("new"), "live").unwrap();
    fs::rename(temp.path().join("new"), temp.path().join("1.stats")).unwrap();
    assert!(!remove_dead(&dir, "1.stats".as_ref(), &dead).unwrap());
    assert_eq!(fs::read(temp.path().join("1.stats")).unwrap(), b"live");
}

#[test]
fn a_live_file_that_was_renamed_gets_its_name_back() {
    let (temp, dir, _no_forks) = pipe_dir();
    let dead = File::create(temp.path().join("dead")).unwrap();
    let dead = FileStat::of_fd(dead).unwrap().id;
    fs::write(temp.path().join("1.stats"), "live").unwrap();
    let tombstone = rename_to_tombstone(&dir, "1.stats".as_ref()).unwrap().unwrap();
    assert!(!tombstone.ends_with(".stats"));
    assert!(!finish(Removal::Renamed(tombstone.clone()), &dir, dead).unwrap());
    assert_eq!(fs::read(temp.path().join("1.stats")).unwrap(), b"live");
}

#[test]
fn restoring_a_file_does_not_replace_one_that_came_meanwhile() {
    let (temp, dir, _no_forks) = pipe_dir();
    let dead = File::create(temp.path().join("dead")).unwrap();
    let dead = FileStat::of_fd(dead).unwrap().id;
    fs::write(temp.path().join("1.stats"), "first").unwrap();
    let tombstone = rename_to_tombstone(&dir, "1.stats".as_ref()).unwrap().unwrap();
    fs::write(temp.path().join("1.stats"), "second").unwrap();
    let err = finish(Removal::Renamed(tombstone.clone()), &dir, dead).unwrap_err();
    assert_eq!(err.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(temp.path().join("1.stats")).unwrap(), b"second");
    assert_eq!(fs::read(temp.path().join(tombstone)).unwrap(), b"first");
}

#[test]
fn a_live_pipe_that_was_renamed_is_removed_once_another_has_its_name() {
    let (temp, dir, _no_forks) = pipe_dir();
    let dead = File::create(temp.path().join("dead")).unwrap();
    let dead = FileStat::of_fd(dead).unwrap().id;
    let path = temp.path().join("1.stats");
    mkfifo(&path, Mode::S_IRUSR).unwrap();
    let tombstone = rename_to_tombstone(&dir, "1.stats".as_ref()).unwrap().unwrap();
    mkfifo(&path, Mode::S_IRUSR).unwrap();
    let live = dir.stat("1.stats".as_ref()).unwrap();
    assert!(!finish(Removal::Renamed(tombstone.clone()), &dir, dead).unwrap());
    assert_eq!(dir.stat("1.stats".as_ref()).unwrap(), live);
    assert_eq!(dir.stat(tombstone.as_ref()).unwrap(), None);
}

/// A participant of the model. Takes one step at a time and returns whether it has another one.
trait Actor {
    fn step(&mut self, dir: &PipeDir) -> bool;
}

const NAME: &str = "1.stats";

/// A process that found the first pipe of the name dead.
struct Sweeper {
    removal: Option<Removal>,
    dead: File,
    has_lock: bool,
}

impl Sweeper {
    /// Opens the pipe: for reading, as a collector does, or with `O_PATH`, as a recorder does.
    fn new(dir: &PipeDir, flags: OFlag) -> Self {
        let dead = openat(dir, NAME, flags, Mode::empty()).unwrap().into();
        Self { removal: Some(Removal::Start), dead, has_lock: false }
    }
}

impl Actor for Sweeper {
    fn step(&mut self, dir: &PipeDir) -> bool {
        let Some(removal) = self.removal.take() else { return false };
        if !self.has_lock {
            self.has_lock = try_lock_pipe(&self.dead).unwrap();
            self.removal = self.has_lock.then_some(removal);
            return self.has_lock;
        }
        let next = removal.step(dir, NAME.as_ref(), FileStat::of_fd(&self.dead).unwrap().id).unwrap();
        self.removal = (!matches!(next, Removal::Done { .. })).then_some(next);
        if self.removal.is_none() {
            self.has_lock = false;
            // Fails for an `O_PATH` descriptor, which was never locked.
            let _ = self.dead.unlock();
        }
        self.removal.is_some()
    }
}

/// A recorder that takes the name when it is free, or after removing the dead pipe itself. Then it swaps its pipe once, and
/// checks later whether the name still refers to its pipe.
struct Taker {
    /// Its pipe, open so that no other file gets its inode number.
    live: Option<OwnedFd>,
    own_removal: Sweeper,
    n_created: usize,
    /// How often it may find the name taken before it uses another name and leaves the model.
    n_tries_left: usize,
    n_steps_left: usize,
}

impl Taker {
    /// Creates a pipe under a staging name.
    fn create_staged(&mut self, dir: &PipeDir) -> (String, OwnedFd) {
        self.n_created += 1;
        let staged = format!(".{NAME}.new{}", self.n_created);
        mkfifo(&dir.path().join(&staged), Mode::S_IRUSR).unwrap();
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW;
        let fd = openat(dir, &*staged, flags, Mode::empty()).unwrap();
        (staged, fd)
    }

    fn is_named(&self, dir: &PipeDir) -> bool {
        let live = self.live.as_ref().map(|live| FileStat::of_fd(live).unwrap().id);
        dir.stat(NAME.as_ref()).unwrap().map(|found| found.id) == live
    }

    /// Exchanges its pipe for a fresh one, as a swap does. If the name is free, takes it again, as a health check does.
    fn renew(&mut self, dir: &PipeDir) {
        let (staged, fresh) = self.create_staged(dir);
        match renameat2(dir, &*staged, dir, NAME, RenameFlags::RENAME_EXCHANGE) {
            Ok(()) => {
                let live = self.live.as_ref().map(|live| FileStat::of_fd(live).unwrap().id);
                let replaced = dir.stat(staged.as_ref()).unwrap().map(|replaced| replaced.id);
                assert_eq!(replaced, live, "the name referred to another pipe");
                unlinkat(dir, &*staged, UnlinkatFlags::NoRemoveDir).unwrap();
            }
            Err(nix::Error::ENOENT) => rename_without_replacing(dir, staged.as_ref(), NAME.as_ref()).unwrap(),
            Err(err) => panic!("{err}"),
        }
        self.live = Some(fresh);
    }
}

impl Actor for Taker {
    fn step(&mut self, dir: &PipeDir) -> bool {
        if self.live.is_none() {
            // It finishes a removal that it has begun.
            if self.own_removal.has_lock {
                self.own_removal.step(dir);
                return true;
            }
            if self.n_tries_left == 0 {
                return false;
            }
            self.n_tries_left -= 1;
            let (staged, fresh) = self.create_staged(dir);
            if rename_without_replacing(dir, staged.as_ref(), NAME.as_ref()).is_ok() {
                self.live = Some(fresh);
            } else {
                unlinkat(dir, &*staged, UnlinkatFlags::NoRemoveDir).unwrap();
                self.own_removal.removal.get_or_insert(Removal::Start);
                self.own_removal.step(dir);
            }
            return true;
        }
        self.n_steps_left -= 1;
        match self.n_steps_left {
            2 => self.renew(dir),
            1 if !self.is_named(dir) => self.renew(dir),
            _ => {}
        }
        self.n_steps_left > 0
    }
}

/// Returns whether the recorder has a pipe that no reader can ever find: the failure that must never happen.
fn is_lost(taker: &Taker) -> bool {
    taker.live.as_ref().is_some_and(|live| FileStat::of_fd(live).unwrap().n_links == 0)
}

/// Runs one order of steps. `choices` holds, for each step, which of the actors that have another step is next, and how many
/// there are; missing choices are appended. Returns whether a live pipe was lost, and the order.
fn run(dir: &PipeDir, choices: &mut Vec<(usize, usize)>) -> (bool, Vec<usize>) {
    mkfifo(&dir.path().join(NAME), Mode::S_IRUSR).unwrap();
    let collector = || Sweeper::new(dir, OFlag::O_RDONLY | OFlag::O_NONBLOCK);
    let (mut one, mut two) = (collector(), collector());
    let mut taker = Taker {
        live: None,
        own_removal: Sweeper::new(dir, OFlag::O_PATH),
        n_created: 0,
        n_tries_left: 2,
        n_steps_left: 3,
    };
    let mut are_active = [true; 3];
    let (mut was_lost, mut order) = (false, Vec::new());
    while are_active.contains(&true) {
        let active: Vec<_> = (0..3).filter(|&idx| are_active[idx]).collect();
        let depth = order.len();
        if depth == choices.len() {
            choices.push((0, active.len()));
        }
        let actor = active[choices[depth].0];
        order.push(actor);
        are_active[actor] = match actor {
            0 => one.step(dir),
            1 => two.step(dir),
            _ => taker.step(dir),
        };
        was_lost |= is_lost(&taker);
    }
    // The recorder's next health check.
    if taker.live.is_some() && !taker.is_named(dir) {
        taker.renew(dir);
    }
    let names = dir.names().unwrap();
    assert!(names.iter().all(|name| name == NAME), "{order:?} left {names:?}");
    assert!(taker.is_named(dir), "{order:?}");
    assert_eq!(FileStat::of_fd(&one.dead).unwrap().n_links, 0, "the dead pipe was not removed: {order:?}");
    let _ = unlinkat(dir, NAME, UnlinkatFlags::NoRemoveDir);
    (was_lost, order)
}

// Two sweepers found the same pipe dead. A recorder takes its name, swaps once and checks once. They take their steps in every
// order. At the end the name refers to the recorder's pipe, and no other file is left.
#[test]
fn in_every_order_of_steps_a_live_pipe_stays_and_nothing_is_left_behind() {
    let (_temp, dir, _no_forks) = pipe_dir();
    let mut choices = Vec::new();
    let (mut n_orders, mut lost) = (0, Vec::new());
    loop {
        let (was_lost, order) = run(&dir, &mut choices);
        n_orders += 1;
        lost.extend(was_lost.then_some(order));
        // Advance to the next order: change the last choice first.
        while choices.last().is_some_and(|(choice, n_choices)| choice + 1 == *n_choices) {
            choices.pop();
        }
        let Some((choice, _)) = choices.last_mut() else { break };
        *choice += 1;
    }
    assert!(n_orders > 1000, "{n_orders} orders");
    assert!(
        lost.is_empty(),
        "{} of {n_orders} orders lost a live pipe until the next health check: {:?}",
        lost.len(),
        &lost[..lost.len().min(3)]
    );
}
