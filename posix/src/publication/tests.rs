//! Recorders of equal pid, a sweeper and ill will in one directory, in any order of their steps.
//!
//! Properties, after each step: a recorder holds the byte of its name from its first pipe until it withdraws; a
//! sweeper that judges as services do removes no pipe of a live recorder; a recorder that mends is found by its
//! name; what is not ours stays as it is. In the end nothing is left but that.
//!
//! Steps are those between which others can come: a recorder's start, read, mending and end, and each of the sweeper's
//! three. A recorder that is dropped without withdrawing is what a killed process leaves: its pipe, and a free byte.

use super::*;
use crate::fork::no_forks;
use crate::hidden::{self, Maker};
use crate::liveness::is_alive;
use crate::node::Node;
use crate::sweep::remove_dead;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use statvent_core::pipe_name::PipeName;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::process;

const N_ROUNDS: u64 = 100;
const N_STEPS: usize = 80;
const MAX_RECORDERS: usize = 4;

/// Numbers that look like chance, and are the same for a seed (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

/// Who removes dead pipes, as `statvent-web` does.
#[derive(Default)]
struct Sweeper {
    /// Names whose byte it saw held.
    seen_held: HashSet<String>,
    looked_at: Option<(String, OwnedFd)>,
    judged: Option<(String, OwnedFd)>,
}

struct World {
    temp: tempfile::TempDir,
    dir: PipeDir,
    /// The directory is somewhere else for now, so that nothing can be published.
    is_away: bool,
    recorders: Vec<Publication>,
    sweeper: Sweeper,
    random: Random,
    n_precious: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        // Where there is a file system in memory the steps take a third of the time.
        let temp = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let path = temp.path().join("pipes");
        fs::create_dir(&path).unwrap();
        // One for several users, which no recorder makes anew.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o1777)).unwrap();
        let dir = PipeDir::open(&path).unwrap();
        let (recorders, sweeper, random) = (Vec::new(), Sweeper::default(), Random(seed));
        Self { temp, dir, is_away: false, recorders, sweeper, random, n_precious: 0 }
    }

    fn start(&self) -> Publication {
        let place = Place { directory: self.dir.path().to_owned(), label: None };
        Publication::start(place, None).unwrap()
    }

    /// Returns the pipe that readers of a recorder find; `None` if there is none now.
    fn published(recorder: &Publication) -> Option<Arc<Fifo>> {
        match &lock(&recorder.state).phase {
            Phase::Published(site) => Some(Arc::clone(&site.fifo)),
            _ => None,
        }
    }

    fn move_directory(&mut self) {
        let (here, away) = (self.dir.path(), self.temp.path().join("away"));
        if self.is_away { fs::rename(away, here) } else { fs::rename(here, away) }.unwrap();
        self.is_away = !self.is_away;
    }

    /// Takes one step and says which.
    fn step(&mut self) -> &'static str {
        if self.random.below(20) == 0 || (self.is_away && self.recorders.is_empty()) {
            self.move_directory();
            return "somebody moves the directory away, or back";
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
                // Where it is lost and cannot be published nobody comes.
                if let Ok(served) = self.recorders[one].await_next() {
                    assert_eq!(self.recorders[one].hand_over(&served.unwrap()), Handover::Retired);
                }
                "a recorder is read"
            }
            4 | 5 => {
                self.recorders[one].mend();
                let published = Self::published(&self.recorders[one]);
                assert!(self.is_away || published.unwrap().is_named().unwrap());
                "a recorder mends"
            }
            6 => {
                self.recorders.remove(one).withdraw().unwrap();
                "a recorder ends"
            }
            7 => {
                drop(self.recorders.remove(one));
                "a recorder is killed"
            }
            8 => {
                let aside = hidden::successor(path.file_name().unwrap(), 0);
                let _ = mkfifo(&self.dir.path().join(aside), Mode::S_IRUSR);
                drop(self.recorders.remove(one));
                "a recorder is killed in the middle of a read"
            }
            9 if !is_precious => {
                let _ = fs::remove_file(path);
                "somebody removes a pipe"
            }
            10 if !is_precious => {
                let _ = fs::rename(path, self.temp.path().join("pipe"));
                "somebody moves a pipe away"
            }
            11 if !self.is_away => {
                fs::write(self.temp.path().join("file"), "precious").unwrap();
                fs::rename(self.temp.path().join("file"), path).unwrap();
                self.n_precious += usize::from(!is_precious);
                "somebody puts a file in the place of a pipe"
            }
            9..14 => self.look_at_one(),
            14 => self.judge(),
            _ => self.sweep(),
        }
    }

    fn look_at_one(&mut self) -> &'static str {
        let mut names = self.dir.names().unwrap();
        names.retain(|name| name.to_str().is_some_and(|name| PipeName::parse(name.as_bytes()).is_some()));
        if !names.is_empty() {
            let name = names.swap_remove(self.random.below(names.len()));
            let pipe = self.open(&name);
            let is_fifo = Node::of(&pipe).unwrap().is_fifo;
            self.sweeper.looked_at = is_fifo.then(|| (name.into_string().unwrap(), pipe));
        }
        "the sweeper looks at a pipe"
    }

    fn judge(&mut self) -> &'static str {
        if let Some((name, pipe)) = self.sweeper.looked_at.take() {
            if is_alive(&self.dir, &PipeName::parse(name.as_bytes()).unwrap()).unwrap() {
                self.sweeper.seen_held.insert(name);
            } else if self.sweeper.seen_held.contains(&name) {
                self.sweeper.judged = Some((name, pipe));
            }
        }
        "the sweeper judges"
    }

    fn sweep(&mut self) -> &'static str {
        let found = |recorders: &[Publication]| -> Vec<bool> {
            let is_found = |recorder: &Publication| {
                Self::published(recorder).is_some_and(|fifo| fifo.is_named().unwrap())
            };
            recorders.iter().map(is_found).collect()
        };
        if let Some((name, pipe)) = self.sweeper.judged.take() {
            let before = found(&self.recorders);
            let _ = remove_dead(&self.dir, name.as_ref(), &pipe);
            assert_eq!(found(&self.recorders), before, "the pipe of a live recorder is gone");
        }
        "the sweeper removes what it judged"
    }

    fn check(&self) {
        for path in self.recorders.iter().map(Publication::path) {
            let name = path.file_name().unwrap().as_encoded_bytes();
            assert!(is_alive(&self.dir, &PipeName::parse(name).unwrap()).unwrap(), "{path:?} is free");
        }
        let is_precious = |name: &OsString| self.dir.node(name).unwrap().is_some_and(|node| !node.is_fifo);
        assert_eq!(
            self.dir.names().unwrap().iter().filter(|name| is_precious(name)).count(),
            self.n_precious
        );
    }

    /// All end. What is left of the killed is known to be dead, and goes.
    fn end(mut self) {
        self.recorders.drain(..).for_each(|recorder| recorder.withdraw().unwrap());
        for name in self.dir.names().unwrap() {
            let bytes = name.as_encoded_bytes();
            let maker = match Maker::of(bytes) {
                Some(Maker::Recorder(pipe)) => pipe,
                _ => PipeName::parse(bytes).unwrap(),
            };
            assert!(!is_alive(&self.dir, &maker).unwrap(), "somebody holds the byte of {name:?}");
            let left = self.open(&name);
            if Node::of(&left).unwrap().is_fifo {
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
fn recorders_a_sweeper_and_ill_will_in_any_order_keep_what_is_promised() {
    let _no_forks = no_forks();
    for seed in 1..=N_ROUNDS {
        let mut world = World::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut steps = Vec::new();
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..N_STEPS {
                steps.push(world.step());
                world.check();
            }
            world.end();
        }));
        assert!(told.is_ok(), "seed {seed}, pid {}, after {steps:#?}", process::id());
    }
}

// 1. A reader looks up the name. 2. More readers come within a moment than retired pipes are kept. 3. The first one opens what
// it found, and waits: its pipe was let go of already.
#[test]
fn no_pipe_is_let_go_while_a_reader_may_be_on_its_way_to_it() {
    let temp = tempfile::tempdir().unwrap();
    let place = Place { directory: temp.path().to_owned(), label: None };
    let recorder = Publication::start(place, None).unwrap();
    let mut served = Vec::new();
    for _ in 0..10 * MAX_RETIRED {
        let fifo = recorder.await_next().unwrap().unwrap();
        served.push((Instant::now(), Arc::clone(&fifo)));
        assert_eq!(recorder.hand_over(&fifo), Handover::Retired);
        let state = lock(&recorder.state);
        // Those that were retired after this moment cannot be due, however slow the machine is.
        let due = Instant::now().checked_sub(STRANDED_AFTER).unwrap();
        let is_kept = |fifo| state.retired.iter().any(|(_, kept)| Arc::ptr_eq(kept, fifo));
        assert!(served.iter().all(|(before, fifo)| *before < due || is_kept(fifo)));
        let is_full = state.retired.len() >= MAX_RETIRED;
        let oldest_due = state.until_oldest_is_stranded();
        drop(state);
        let rest = recorder.rest_between_readers();
        assert!(rest <= oldest_due && (is_full || rest.is_zero()));
    }
    recorder.withdraw().unwrap();
}
