//! Model test: recorders of equal pid, a sweeper and hostile changes, in random order.
//!
//! All share one directory. Properties after each step: a recorder holds the lock byte of its name from its first pipe until it is
//! closed; a sweeper that decides as services do removes no pipe of a live recorder; after a health check, readers find the
//! recorder by its name; foreign files stay as they are. At the end only foreign files are left.
//!
//! A step is what others can interleave with: a recorder's start, read, health check and end, and each of the sweeper's three
//! steps. A recorder that is dropped without being closed models a killed process: its pipe stays, its lock byte is free.

use super::*;
use crate::limits::{MAX_RETIRED_PIPES, READER_GRACE};
use crate::liveness::is_alive;
use crate::pipe::hidden_name::{HiddenNameOwner, staging_name};
use crate::pipe::name::PipeName;
use crate::pipe::remove::remove_dead;
use crate::process::fork::no_forks;
use crate::sys::stat::FileStat;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::process;
use std::time::Instant;

const N_ROUNDS: u64 = 100;
const N_STEPS: usize = 80;
const MAX_RECORDERS: usize = 4;

/// Pseudo-random numbers, equal for equal seeds (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

/// Removes dead pipes, as `statvent-web` does.
#[derive(Default)]
struct Sweeper {
    /// Names whose lock byte was held at a check.
    had_lock_byte: HashSet<String>,
    opened: Option<(String, OwnedFd)>,
    found_dead: Option<(String, OwnedFd)>,
}

struct World {
    temp: tempfile::TempDir,
    dir: PipeDir,
    /// Whether the directory is moved away, so that publishing fails.
    is_away: bool,
    recorders: Vec<Endpoint>,
    sweeper: Sweeper,
    random: Random,
    n_precious: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        // On a file system in memory the steps take a third of the time.
        let temp = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let path = temp.path().join("pipes");
        fs::create_dir(&path).unwrap();
        // A directory for several users, which recorders do not create again.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o1777)).unwrap();
        let dir = PipeDir::open(&path).unwrap();
        let (recorders, sweeper, random) = (Vec::new(), Sweeper::default(), Random(seed));
        Self { temp, dir, is_away: false, recorders, sweeper, random, n_precious: 0 }
    }

    fn start(&self) -> Endpoint {
        let config = EndpointConfig { directory: self.dir.path().to_owned(), label: None };
        Endpoint::publish(config, None).unwrap()
    }

    /// Returns the pipe that readers of a recorder find; `None` if there is none now.
    fn published(recorder: &Endpoint) -> Option<Arc<Fifo>> {
        match &lock(&recorder.state).phase {
            Phase::Published(slot) => Some(Arc::clone(&slot.fifo)),
            _ => None,
        }
    }

    fn move_directory(&mut self) {
        let (here, away) = (self.dir.path(), self.temp.path().join("away"));
        if self.is_away { fs::rename(away, here) } else { fs::rename(here, away) }.unwrap();
        self.is_away = !self.is_away;
    }

    /// Takes one random step and returns its description.
    fn step(&mut self) -> &'static str {
        if self.random.below(20) == 0 || (self.is_away && self.recorders.is_empty()) {
            self.move_directory();
            return "the directory is moved away, or back";
        }
        if self.recorders.is_empty() {
            self.recorders.push(self.start());
            return "a recorder starts";
        }
        let one = self.random.below(self.recorders.len());
        let path = self.recorders[one].path();
        let is_precious = fs::metadata(&path).is_ok_and(|found| found.is_file());
        match self.random.below(16) {
            0 | 1 if self.recorders.len() < MAX_RECORDERS && !self.is_away => {
                let fresh = self.start();
                self.recorders.push(fresh);
                "a recorder starts"
            }
            2 | 3 => {
                // An error means that it is unpublished and publishing fails: then no reader can come.
                if let Ok(opened) = self.recorders[one].next_pipe() {
                    assert_eq!(self.recorders[one].swap(&opened.unwrap()), Swap::Done);
                }
                "a recorder is read"
            }
            4 | 5 => {
                self.recorders[one].health_check();
                let published = Self::published(&self.recorders[one]);
                assert!(self.is_away || published.unwrap().is_named().unwrap());
                "a recorder checks its health"
            }
            6 => {
                self.recorders.remove(one).close().unwrap();
                "a recorder ends"
            }
            7 => {
                drop(self.recorders.remove(one));
                "a recorder is killed"
            }
            8 => {
                let staged = staging_name(path.file_name().unwrap(), 0);
                let _ = mkfifo(&self.dir.path().join(staged), Mode::S_IRUSR);
                drop(self.recorders.remove(one));
                "a recorder is killed during a swap"
            }
            9 if !is_precious => {
                let _ = fs::remove_file(path);
                "a pipe is removed"
            }
            10 if !is_precious => {
                let _ = fs::rename(path, self.temp.path().join("pipe"));
                "a pipe is moved away"
            }
            11 if !self.is_away => {
                fs::write(self.temp.path().join("file"), "precious").unwrap();
                fs::rename(self.temp.path().join("file"), path).unwrap();
                self.n_precious += usize::from(!is_precious);
                "a pipe is replaced by a file"
            }
            9..14 => self.open_one(),
            14 => self.check_liveness(),
            _ => self.sweep(),
        }
    }

    fn open_one(&mut self) -> &'static str {
        let mut names = self.dir.names().unwrap();
        names.retain(|name| name.to_str().is_some_and(|name| PipeName::parse(name.as_bytes()).is_some()));
        if !names.is_empty() {
            let name = names.swap_remove(self.random.below(names.len()));
            let pipe = self.open(&name);
            let is_fifo = FileStat::of_fd(&pipe).unwrap().is_fifo;
            self.sweeper.opened = is_fifo.then(|| (name.into_string().unwrap(), pipe));
        }
        "the sweeper opens a pipe"
    }

    fn check_liveness(&mut self) -> &'static str {
        if let Some((name, pipe)) = self.sweeper.opened.take() {
            if is_alive(&self.dir, &PipeName::parse(name.as_bytes()).unwrap()).unwrap() {
                self.sweeper.had_lock_byte.insert(name);
            } else if self.sweeper.had_lock_byte.contains(&name) {
                self.sweeper.found_dead = Some((name, pipe));
            }
        }
        "the sweeper checks whether the pipe is dead"
    }

    fn sweep(&mut self) -> &'static str {
        let found = |recorders: &[Endpoint]| -> Vec<bool> {
            let is_found =
                |recorder: &Endpoint| Self::published(recorder).is_some_and(|fifo| fifo.is_named().unwrap());
            recorders.iter().map(is_found).collect()
        };
        if let Some((name, pipe)) = self.sweeper.found_dead.take() {
            let before = found(&self.recorders);
            let _ = remove_dead(&self.dir, name.as_ref(), &pipe);
            assert_eq!(found(&self.recorders), before, "the pipe of a live recorder is gone");
        }
        "the sweeper removes the dead pipe"
    }

    fn check(&self) {
        for path in self.recorders.iter().map(Endpoint::path) {
            let name = path.file_name().unwrap().as_encoded_bytes();
            assert!(is_alive(&self.dir, &PipeName::parse(name).unwrap()).unwrap(), "{path:?} is free");
        }
        let is_precious = |name: &OsString| self.dir.stat(name).unwrap().is_some_and(|stat| !stat.is_fifo);
        assert_eq!(
            self.dir.names().unwrap().iter().filter(|name| is_precious(name)).count(),
            self.n_precious
        );
    }

    /// Closes all recorders. The pipes that killed ones left are found dead, and can be removed.
    fn end(mut self) {
        self.recorders.drain(..).for_each(|recorder| recorder.close().unwrap());
        for name in self.dir.names().unwrap() {
            let bytes = name.as_encoded_bytes();
            let owner = match HiddenNameOwner::parse(bytes) {
                Some(HiddenNameOwner::Recorder(pipe)) => pipe,
                _ => PipeName::parse(bytes).unwrap(),
            };
            assert!(!is_alive(&self.dir, &owner).unwrap(), "the byte of {name:?} is locked");
            let left = self.open(&name);
            if FileStat::of_fd(&left).unwrap().is_fifo {
                assert!(remove_dead(&self.dir, &name, &left).unwrap());
            }
        }
        assert_eq!(self.dir.names().unwrap().len(), self.n_precious);
    }

    fn open(&self, name: &OsStr) -> OwnedFd {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(&self.dir, name, flags, Mode::empty()).unwrap()
    }
}

#[test]
fn recorders_a_sweeper_and_hostile_changes_in_any_order_keep_the_properties() {
    let _no_forks = no_forks();
    for seed in 1..=N_ROUNDS {
        let mut world = World::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut steps = Vec::new();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..N_STEPS {
                steps.push(world.step());
                world.check();
            }
            world.end();
        }));
        assert!(result.is_ok(), "seed {seed}, pid {}, after {steps:#?}", process::id());
    }
}

// 1. A reader looks up the name.
// 2. Within a moment more readers come than retired pipes are kept.
// 3. The first reader opens the pipe it found and waits: that pipe was dropped already.
#[test]
fn no_pipe_is_dropped_while_a_reader_may_still_open_it() {
    let temp = tempfile::tempdir().unwrap();
    let config = EndpointConfig { directory: temp.path().to_owned(), label: None };
    let recorder = Endpoint::publish(config, None).unwrap();
    let mut served = Vec::new();
    for _ in 0..10 * MAX_RETIRED_PIPES {
        let fifo = recorder.next_pipe().unwrap().unwrap();
        served.push((Instant::now(), Arc::clone(&fifo)));
        assert_eq!(recorder.swap(&fifo), Swap::Done);
        let state = lock(&recorder.state);
        // Pipes retired after this moment cannot be due, however slow the machine is.
        let due = Instant::now().checked_sub(READER_GRACE).unwrap();
        assert!(served.iter().all(|(before, fifo)| *before < due || state.retired.contains(fifo)));
        let is_full = state.retired.is_full();
        assert_eq!(is_full, state.retired.n_pipes() >= MAX_RETIRED_PIPES);
        let grace_left = state.retired.grace_left();
        drop(state);
        let delay = recorder.delay_before_next_reader();
        assert!(delay <= grace_left && (is_full || delay.is_zero()));
    }
    recorder.close().unwrap();
}
