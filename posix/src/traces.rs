//! What a process leaves behind if a signal kills it: a fixed table of pipes that a signal handler can read.
//!
//! Owns the table: for each recorder the directory's descriptor, the pipe's name and which file it is. No step waits
//! for a lock or allocates, and whatever is read at a bad moment is checked against the file before anything is
//! removed. Kept up to date by `publication`; read by `signals`.
#![allow(unsafe_code, reason = "a descriptor in an atomic is a bare number")]

use crate::fork::this_process;
use crate::node::{FileId, Node};
use nix::poll::{PollTimeout, poll};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::OsStr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU64, Ordering};

/// How many recorders of a process are cleaned up after; what others leave is swept as dead.
const MAX_TRACES: usize = 64;

/// The longest name of a pipe (a label, a pid, a suffix) has 87 bytes, and the zero byte that ends it.
const NAME_BYTES: usize = 96;

/// For how many milliseconds a signal handler waits for changes under way: longer than they take where the file system
/// holds nothing up.
const HANDLER_WAITS_MILLIS: u32 = 200;

/// For how many milliseconds a change waits for the end of the process, which comes, or does not, long before.
const CHANGE_WAITS_MILLIS: u32 = 10_000;

/// One recorder's place in the table.
///
/// All loads and stores are relaxed but those of `changing`: its release at the end of a change is seen by the acquire
/// at the beginning of the next.
#[derive(Debug)]
pub(crate) struct Trace {
    /// Whose it is, see [`this_process`]; 0 if nobody's.
    owner: AtomicU64,
    /// Whether files are being made, renamed or removed right now, or the process is being ended.
    changing: AtomicBool,
    dir: AtomicI32,
    dev: AtomicU64,
    ino: AtomicU64,
    /// Ended by a zero byte; empty if there is no pipe.
    name: [AtomicU8; NAME_BYTES],
}

static TABLE: [Trace; MAX_TRACES] = [const { Trace::new() }; MAX_TRACES];

impl Trace {
    const fn new() -> Self {
        Self {
            owner: AtomicU64::new(0),
            changing: AtomicBool::new(false),
            dir: AtomicI32::new(-1),
            dev: AtomicU64::new(0),
            ino: AtomicU64::new(0),
            name: [const { AtomicU8::new(0) }; NAME_BYTES],
        }
    }

    /// Takes a place in the table, of no pipe yet; `None` if it is full.
    pub(crate) fn take() -> Option<&'static Self> {
        let us = this_process();
        TABLE.iter().find(|trace| {
            // What has no owner leads to no pipe, so that a signal right after this finds nothing.
            trace.owner.compare_exchange(0, us, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        })
    }

    /// Gives the place back.
    pub(crate) fn give_back(&self) {
        self.set(None);
        self.owner.store(0, Ordering::Relaxed);
    }

    /// Begins to change files; waits while the process is being ended.
    pub(crate) fn begin_change(&self) {
        // If it goes on all the same the process is not going to end: a debugger took the signal away.
        let _ = self.hold(&mut { CHANGE_WAITS_MILLIS });
    }

    /// Ends a change and says what would now be left behind.
    pub(crate) fn end_change(&self, pipe: Option<(BorrowedFd<'_>, &OsStr, FileId)>) {
        self.set(pipe);
        self.changing.store(false, Ordering::Release);
    }

    fn set(&self, pipe: Option<(BorrowedFd<'_>, &OsStr, FileId)>) {
        let Some((dir, name, id)) = pipe.filter(|(_, name, _)| name.len() < NAME_BYTES) else {
            return self.name[0].store(0, Ordering::Relaxed);
        };
        self.dir.store(dir.as_raw_fd(), Ordering::Relaxed);
        self.dev.store(id.dev, Ordering::Relaxed);
        self.ino.store(id.ino, Ordering::Relaxed);
        for (to, byte) in self.name.iter().zip(name.as_bytes().iter().copied().chain([0])) {
            to.store(byte, Ordering::Relaxed);
        }
    }

    /// Keeps others from changing files; `false` if somebody else does so and patience is at its end.
    fn hold(&self, patience_millis: &mut u32) -> bool {
        while self.changing.swap(true, Ordering::Acquire) {
            if *patience_millis == 0 {
                return false;
            }
            *patience_millis -= 1;
            // A wait that signal handlers are allowed.
            let _ = poll(&mut [], PollTimeout::from(1_u8));
        }
        true
    }

    /// Removes the pipe if its name still leads to it.
    fn remove(&self) {
        let name: [u8; NAME_BYTES] = std::array::from_fn(|i| self.name[i].load(Ordering::Relaxed));
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let dir = self.dir.load(Ordering::Relaxed);
        if name.is_empty() || dir < 0 {
            return;
        }
        // SAFETY: it is not -1, and is used for two calls here alone. Should it be closed meanwhile, or be another file's,
        // the name does not lead to our pipe from there.
        let dir = unsafe { BorrowedFd::borrow_raw(dir) };
        let ours = FileId { dev: self.dev.load(Ordering::Relaxed), ino: self.ino.load(Ordering::Relaxed) };
        // Neither call allocates for a name as short as this.
        let name = OsStr::from_bytes(name);
        if Node::named(dir, name).is_ok_and(|found| found.is_some_and(|found| found.id == ours)) {
            let _ = unlinkat(dir, name, UnlinkatFlags::NoRemoveDir);
        }
    }
}

/// Removes the pipes of this process, and lets no thread make others. For signal handlers, on a thread that changes none.
pub(crate) fn remove_all() {
    let mut patience_millis = HANDLER_WAITS_MILLIS;
    for trace in of_this_process() {
        // Where a change takes too long, that pipe is removed as well as can be.
        let _ = trace.hold(&mut patience_millis);
    }
    of_this_process().for_each(Trace::remove);
}

/// Forgets all pipes: in a forked child, before it has another thread. They are its parent's, who may have been changing
/// one when it forked.
pub(crate) fn forget_pipes_of_parent() {
    TABLE.iter().for_each(|trace| {
        trace.give_back();
        trace.changing.store(false, Ordering::Release);
    });
}

/// Lets pipes be made again, because the process goes on after all.
pub(crate) fn allow_again() {
    of_this_process().for_each(|trace| trace.changing.store(false, Ordering::Release));
}

fn of_this_process() -> impl Iterator<Item = &'static Trace> {
    let us = this_process();
    TABLE.iter().filter(move |trace| trace.owner.load(Ordering::Relaxed) == us)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::fd::AsFd;
    use std::sync::Mutex;

    /// Held by tests that use the table.
    static TAKING: Mutex<()> = Mutex::new(());

    #[test]
    fn what_a_name_leads_to_is_removed_only_if_it_is_ours() {
        let temp = tempfile::tempdir().unwrap();
        let dir = File::open(temp.path()).unwrap();
        let path = temp.path().join("1.stats");
        let trace = Trace::new();
        trace.remove();
        let ours = Node::of(File::create(&path).unwrap()).unwrap().id;
        trace.begin_change();
        trace.end_change(Some((dir.as_fd(), "1.stats".as_ref(), ours)));
        fs::rename(&path, temp.path().join("elsewhere")).unwrap();
        fs::write(&path, "precious").unwrap();
        trace.remove();
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        fs::rename(temp.path().join("elsewhere"), &path).unwrap();
        trace.remove();
        assert!(!path.exists());
    }

    #[test]
    fn patience_with_a_change_under_way_ends() {
        let trace = Trace::new();
        trace.begin_change();
        let mut patience_millis = 3;
        assert!(!trace.hold(&mut patience_millis));
        trace.end_change(None);
        assert!(trace.hold(&mut patience_millis));
    }

    #[test]
    fn places_are_given_back_and_a_full_table_is_no_error() {
        let _alone = TAKING.lock().unwrap();
        let all: Vec<_> = std::iter::from_fn(Trace::take).collect();
        assert!(all.len() <= MAX_TRACES && Trace::take().is_none());
        all.iter().for_each(|trace| trace.give_back());
        Trace::take().unwrap().give_back();
    }

    // 1. A child takes the place of its parent's trace. 2. A signal ended it before the trace was its own: it removed its
    // parent's pipe.
    #[test]
    fn a_child_has_no_trace_of_its_parents_pipes_from_the_beginning() {
        let _alone = TAKING.lock().unwrap();
        let _forking = crate::fork::forking();
        crate::fork::register();
        let temp = tempfile::tempdir().unwrap();
        let dir = File::open(temp.path()).unwrap();
        let ours = Node::of(File::create(temp.path().join("1.stats")).unwrap()).unwrap().id;
        let trace = Trace::take().unwrap();
        trace.begin_change();
        trace.end_change(Some((dir.as_fd(), "1.stats".as_ref(), ours)));
        trace.begin_change();
        // SAFETY: the child looks at atomics alone, and ends.
        match unsafe { nix::unistd::fork() }.unwrap() {
            nix::unistd::ForkResult::Child => {
                let is_empty = trace.name[0].load(Ordering::Relaxed) == 0;
                let is_free = trace.owner.load(Ordering::Relaxed) == 0 && trace.hold(&mut 0);
                // SAFETY: it ends the process.
                unsafe { libc::_exit(i32::from(!(is_empty && is_free))) }
            }
            nix::unistd::ForkResult::Parent { child } => {
                let ended = nix::sys::wait::waitpid(child, None);
                assert_eq!(ended, Ok(nix::sys::wait::WaitStatus::Exited(child, 0)));
            }
        }
        trace.end_change(None);
        trace.give_back();
    }

    #[test]
    fn the_longest_name_fits() {
        let label = "l".repeat(64);
        let label = statvent_core::pipe_name::Label::new(&label);
        let name = statvent_core::pipe_name::PipeName { label, pid: u32::MAX, n: u16::MAX };
        assert!(name.to_string().len() < NAME_BYTES);
    }
}
