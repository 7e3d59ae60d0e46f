//! Tests of removal: what goes, what gets its name back, and a model of everybody who may come in between.

use super::*;
use crate::fork::{NoForks, no_forks};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use std::fs::{self, File};
use std::os::fd::OwnedFd;

fn pipe_dir() -> (tempfile::TempDir, PipeDir, NoForks) {
    // Where there is a file system in memory the steps take a third of the time.
    let temp = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let dir = PipeDir::open(temp.path()).unwrap();
    (temp, dir, no_forks())
}

/// Goes on with a removal to its end.
fn go_on(mut removal: Removal, dir: &PipeDir, judged: FileId) -> io::Result<bool> {
    loop {
        match removal.step(dir, "1.stats".as_ref(), judged)? {
            Removal::Done { is_gone } => return Ok(is_gone),
            next => removal = next,
        }
    }
}

#[test]
fn what_was_judged_goes_and_nothing_is_left() {
    let (temp, dir, _no_forks) = pipe_dir();
    let judged = File::create(temp.path().join("1.stats")).unwrap();
    assert!(remove_dead(&dir, "1.stats".as_ref(), &judged).unwrap());
    assert!(dir.names().unwrap().is_empty());
    assert!(remove_dead(&dir, "1.stats".as_ref(), &judged).unwrap());
}

#[test]
fn a_name_that_leads_elsewhere_stays() {
    let (temp, dir, _no_forks) = pipe_dir();
    let judged = File::create(temp.path().join("1.stats")).unwrap();
    fs::write(temp.path().join("new"), "live").unwrap();
    fs::rename(temp.path().join("new"), temp.path().join("1.stats")).unwrap();
    assert!(!remove_dead(&dir, "1.stats".as_ref(), &judged).unwrap());
    assert_eq!(fs::read(temp.path().join("1.stats")).unwrap(), b"live");
}

#[test]
fn a_live_file_that_was_put_aside_gets_its_name_back() {
    let (temp, dir, _no_forks) = pipe_dir();
    let judged = File::create(temp.path().join("judged")).unwrap();
    let judged = Node::of(judged).unwrap().id;
    fs::write(temp.path().join("1.stats"), "live").unwrap();
    let aside = put_aside(&dir, "1.stats".as_ref()).unwrap().unwrap();
    assert!(!aside.ends_with(".stats"));
    assert!(!go_on(Removal::Aside(aside.clone()), &dir, judged).unwrap());
    assert_eq!(fs::read(temp.path().join("1.stats")).unwrap(), b"live");
}

#[test]
fn putting_back_a_file_does_not_replace_what_came_meanwhile() {
    let (temp, dir, _no_forks) = pipe_dir();
    let judged = File::create(temp.path().join("judged")).unwrap();
    let judged = Node::of(judged).unwrap().id;
    fs::write(temp.path().join("1.stats"), "first").unwrap();
    let aside = put_aside(&dir, "1.stats".as_ref()).unwrap().unwrap();
    fs::write(temp.path().join("1.stats"), "second").unwrap();
    let err = go_on(Removal::Aside(aside.clone()), &dir, judged).unwrap_err();
    assert_eq!(err.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(temp.path().join("1.stats")).unwrap(), b"second");
    assert_eq!(fs::read(temp.path().join(aside)).unwrap(), b"first");
}

#[test]
fn a_live_pipe_that_was_put_aside_goes_once_another_has_its_name() {
    let (temp, dir, _no_forks) = pipe_dir();
    let judged = File::create(temp.path().join("judged")).unwrap();
    let judged = Node::of(judged).unwrap().id;
    let path = temp.path().join("1.stats");
    mkfifo(&path, Mode::S_IRUSR).unwrap();
    let aside = put_aside(&dir, "1.stats".as_ref()).unwrap().unwrap();
    mkfifo(&path, Mode::S_IRUSR).unwrap();
    let live = dir.node("1.stats".as_ref()).unwrap();
    assert!(!go_on(Removal::Aside(aside.clone()), &dir, judged).unwrap());
    assert_eq!(dir.node("1.stats".as_ref()).unwrap(), live);
    assert_eq!(dir.node(aside.as_ref()).unwrap(), None);
}

/// One who takes part in the model: takes one step at a time, and says whether it has another one.
trait Actor {
    fn step(&mut self, dir: &PipeDir) -> bool;
}

const NAME: &str = "1.stats";

/// Somebody who has judged the pipe dead that had the name at first.
struct Remover {
    removal: Option<Removal>,
    judged: File,
    has_lock: bool,
}

impl Remover {
    /// One who opened the pipe to read it, as a collector does, or one who cannot read it (`O_PATH`), as a recorder.
    fn of(dir: &PipeDir, how: OFlag) -> Self {
        let judged = openat(dir, NAME, how, Mode::empty()).unwrap().into();
        Self { removal: Some(Removal::Begun), judged, has_lock: false }
    }
}

impl Actor for Remover {
    fn step(&mut self, dir: &PipeDir) -> bool {
        let Some(removal) = self.removal.take() else { return false };
        if !self.has_lock {
            self.has_lock = lock(&self.judged).unwrap();
            self.removal = self.has_lock.then_some(removal);
            return self.has_lock;
        }
        let next = removal.step(dir, NAME.as_ref(), Node::of(&self.judged).unwrap().id).unwrap();
        self.removal = (!matches!(next, Removal::Done { .. })).then_some(next);
        if self.removal.is_none() {
            self.has_lock = false;
            // Refused where there never was a lock.
            let _ = self.judged.unlock();
        }
        self.removal.is_some()
    }
}

/// A recorder that takes the name once it is free or after it removed the dead pipe itself, hands over to a fresh pipe at each
/// reader, and looks now and then whether the name still leads to its pipe.
struct Taker {
    /// Its pipe, held so that its inode is no other one's.
    live: Option<OwnedFd>,
    clears: Remover,
    n_made: usize,
    /// How often it finds the name taken before it takes another name, and no part in this any more.
    n_tries_left: usize,
    n_steps_left: usize,
}

impl Taker {
    /// Makes a pipe aside.
    fn make(&mut self, dir: &PipeDir) -> (String, OwnedFd) {
        self.n_made += 1;
        let aside = format!(".{NAME}.new{}", self.n_made);
        mkfifo(&dir.path().join(&aside), Mode::S_IRUSR).unwrap();
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW;
        let descriptor = openat(dir, &*aside, flags, Mode::empty()).unwrap();
        (aside, descriptor)
    }

    fn is_named(&self, dir: &PipeDir) -> bool {
        let live = self.live.as_ref().map(|live| Node::of(live).unwrap().id);
        dir.node(NAME.as_ref()).unwrap().map(|found| found.id) == live
    }

    /// Exchanges its pipe for a fresh one, as a hand-over does; where nothing has the name it takes that anew, as upkeep does.
    fn renew(&mut self, dir: &PipeDir) {
        let (aside, fresh) = self.make(dir);
        match renameat2(dir, &*aside, dir, NAME, RenameFlags::RENAME_EXCHANGE) {
            Ok(()) => {
                let live = self.live.as_ref().map(|live| Node::of(live).unwrap().id);
                let replaced = dir.node(aside.as_ref()).unwrap().map(|replaced| replaced.id);
                assert_eq!(replaced, live, "nobody else has a pipe under this name");
                unlinkat(dir, &*aside, UnlinkatFlags::NoRemoveDir).unwrap();
            }
            Err(nix::Error::ENOENT) => rename_without_replacing(dir, aside.as_ref(), NAME.as_ref()).unwrap(),
            Err(err) => panic!("{err}"),
        }
        self.live = Some(fresh);
    }
}

impl Actor for Taker {
    fn step(&mut self, dir: &PipeDir) -> bool {
        if self.live.is_none() {
            // A removal that it began it brings to its end first.
            if self.clears.has_lock {
                self.clears.step(dir);
                return true;
            }
            if self.n_tries_left == 0 {
                return false;
            }
            self.n_tries_left -= 1;
            let (aside, fresh) = self.make(dir);
            if rename_without_replacing(dir, aside.as_ref(), NAME.as_ref()).is_ok() {
                self.live = Some(fresh);
            } else {
                unlinkat(dir, &*aside, UnlinkatFlags::NoRemoveDir).unwrap();
                self.clears.removal.get_or_insert(Removal::Begun);
                self.clears.step(dir);
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

/// What is wrong at any moment: a pipe that its recorder believes in and that nobody can ever find again.
fn is_lost(taker: &Taker) -> bool {
    taker.live.as_ref().is_some_and(|live| Node::of(live).unwrap().n_links == 0)
}

/// Runs one order of steps. `choices` says which of those goes on who have another step, and of how many; those that it does
/// not say are added. Returns whether a live pipe was lost, and the order.
fn run(dir: &PipeDir, choices: &mut Vec<(usize, usize)>) -> (bool, Vec<usize>) {
    mkfifo(&dir.path().join(NAME), Mode::S_IRUSR).unwrap();
    let collector = || Remover::of(dir, OFlag::O_RDONLY | OFlag::O_NONBLOCK);
    let (mut one, mut two) = (collector(), collector());
    let mut taker = Taker {
        live: None,
        clears: Remover::of(dir, OFlag::O_PATH),
        n_made: 0,
        n_tries_left: 2,
        n_steps_left: 3,
    };
    let mut are_on = [true; 3];
    let (mut was_lost, mut order) = (false, Vec::new());
    while are_on.contains(&true) {
        let on: Vec<_> = (0..3).filter(|&idx| are_on[idx]).collect();
        let depth = order.len();
        if depth == choices.len() {
            choices.push((0, on.len()));
        }
        let actor = on[choices[depth].0];
        order.push(actor);
        are_on[actor] = match actor {
            0 => one.step(dir),
            1 => two.step(dir),
            _ => taker.step(dir),
        };
        was_lost |= is_lost(&taker);
    }
    // The recorder's next look, after all that.
    if taker.live.is_some() && !taker.is_named(dir) {
        taker.renew(dir);
    }
    let names = dir.names().unwrap();
    assert!(names.iter().all(|name| name == NAME), "{order:?} left {names:?}");
    assert!(taker.is_named(dir), "{order:?}");
    assert_eq!(Node::of(&one.judged).unwrap().n_links, 0, "the dead pipe is there: {order:?}");
    let _ = unlinkat(dir, NAME, UnlinkatFlags::NoRemoveDir);
    (was_lost, order)
}

// Two removers that judged the same dead pipe, and a recorder that takes its name, hands over once and looks after it, in every
// order of their steps. In the end the name leads to the recorder's pipe and nothing else is left.
#[test]
fn in_every_order_of_steps_a_live_pipe_stays_and_nothing_is_left_behind() {
    let (_temp, dir, _no_forks) = pipe_dir();
    let mut choices = Vec::new();
    let (mut n_orders, mut lost) = (0, Vec::new());
    loop {
        let (was_lost, order) = run(&dir, &mut choices);
        n_orders += 1;
        lost.extend(was_lost.then_some(order));
        // The next order, the last choice first.
        while choices.last().is_some_and(|(choice, n_choices)| choice + 1 == *n_choices) {
            choices.pop();
        }
        let Some((choice, _)) = choices.last_mut() else { break };
        *choice += 1;
    }
    assert!(n_orders > 1000, "{n_orders} orders");
    assert!(
        lost.is_empty(),
        "{} of {n_orders} orders lost a live pipe until its recorder looked: {:?}",
        lost.len(),
        &lost[..lost.len().min(3)]
    );
}
