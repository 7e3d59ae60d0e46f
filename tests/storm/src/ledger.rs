//! The ledgers: what each worker counted, in a file that outlives whoever writes it.
//!
//! Owns the file's layout and its mapping into memory. A worker notes each count before it begins and after it is
//! done, so that a killed worker's total is known to lie between two numbers. Written by `worker`, read by the rest.
#![allow(unsafe_code, reason = "a mapped file is the one memory that a killed process leaves in order")]

use std::fs::OpenOptions;
use std::io;
use std::mem::size_of;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap};

/// The most workers of one storm.
pub(crate) const MAX_WORKERS: usize = 16_384;

/// The threads of a worker that count.
pub(crate) const THREADS: usize = 2;

/// The order of all that is written here. A worker's counts and its notes are told apart by order alone, and nothing
/// here is fast.
const ORDER: Ordering = Ordering::SeqCst;

/// All ledgers, and what the storm tells its workers.
#[repr(C)]
pub(crate) struct Ledger {
    next: AtomicU64,
    /// Odd while workers are to hold still.
    epoch: AtomicU64,
    may_fork: AtomicU32,
    is_over: AtomicU32,
    rows: [Row; MAX_WORKERS],
}

/// How far a worker has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum State {
    /// Not used, or no process was made for it.
    Void,
    /// A process is made for it, and publishes soon.
    Starting,
    /// Its pipe is there.
    Published,
    /// It ends by itself, from now on at any moment.
    Leaving,
}

/// The ledger of one worker.
#[repr(C, align(64))]
pub(crate) struct Row {
    state: AtomicU32,
    pid: AtomicU32,
    is_fat: AtomicU32,
    counts: [Count; THREADS],
    held: [AtomicU64; THREADS],
}

#[repr(C)]
struct Count {
    begun: AtomicU64,
    done: AtomicU64,
}

impl Ledger {
    /// Opens the file, which is made if it is missing, for as long as this process lives.
    pub(crate) fn open(path: &Path) -> io::Result<&'static Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        file.set_len(size_of::<Self>() as u64)?;
        let length = const { NonZeroUsize::new(size_of::<Self>()).unwrap() };
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the system chooses the place, so that nothing else is replaced.
        let mapped = unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, &file, 0) }?;
        // SAFETY: the mapping is that long, begins at a page, is never undone, and holds atomics alone, for which any
        // bytes will do; nobody makes the file shorter.
        Ok(unsafe { mapped.cast::<Self>().as_ref() })
    }

    /// Takes a ledger for a worker that is about to be made; `None` when all are taken.
    pub(crate) fn take(&self) -> Option<usize> {
        let id = self.next.fetch_add(1, ORDER) as usize;
        self.rows.get(id)?.set_state(State::Starting);
        Some(id)
    }

    /// How many ledgers were taken.
    pub(crate) fn n_taken(&self) -> usize {
        (self.next.load(ORDER) as usize).min(MAX_WORKERS)
    }

    pub(crate) fn row(&self, id: usize) -> &Row {
        &self.rows[id]
    }

    /// The epoch: odd while workers are to hold still.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(ORDER)
    }

    pub(crate) fn next_epoch(&self) -> u64 {
        self.epoch.fetch_add(1, ORDER) + 1
    }

    pub(crate) fn may_fork(&self) -> bool {
        self.may_fork.load(ORDER) != 0
    }

    pub(crate) fn let_fork(&self, may_fork: bool) {
        self.may_fork.store(may_fork.into(), ORDER);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(ORDER) != 0
    }

    /// Asks all workers to leave.
    pub(crate) fn end(&self) {
        self.is_over.store(1, ORDER);
    }
}

impl Row {
    pub(crate) fn state(&self) -> State {
        match self.state.load(ORDER) {
            1 => State::Starting,
            2 => State::Published,
            3 => State::Leaving,
            _ => State::Void,
        }
    }

    pub(crate) fn set_state(&self, state: State) {
        self.state.store(state as u32, ORDER);
    }

    /// The worker's process, if it is known.
    pub(crate) fn pid(&self) -> Option<u32> {
        Some(self.pid.load(ORDER)).filter(|pid| *pid != 0)
    }

    pub(crate) fn set_pid(&self, pid: u32) {
        self.pid.store(pid, ORDER);
    }

    /// Whether the worker says more than a pipe takes in one piece.
    pub(crate) fn is_fat(&self) -> bool {
        self.is_fat.load(ORDER) != 0
    }

    pub(crate) fn set_fat(&self, is_fat: bool) {
        self.is_fat.store(is_fat.into(), ORDER);
    }

    /// Notes that a count begins, lets it be done, and notes that it is.
    pub(crate) fn count(&self, thread: usize, count: impl FnOnce()) {
        let notes = &self.counts[thread];
        notes.begun.fetch_add(1, ORDER);
        count();
        notes.done.fetch_add(1, ORDER);
    }

    /// The least that the worker has counted by now.
    pub(crate) fn lower(&self) -> u64 {
        self.counts.iter().map(|notes| notes.done.load(ORDER)).sum()
    }

    /// The most that the worker has counted by now.
    pub(crate) fn upper(&self) -> u64 {
        self.counts.iter().map(|notes| notes.begun.load(ORDER)).sum()
    }

    pub(crate) fn hold(&self, thread: usize, epoch: u64) {
        self.held[thread].store(epoch, ORDER);
    }

    /// Whether all threads hold still in this epoch.
    pub(crate) fn holds(&self, epoch: u64) -> bool {
        self.held.iter().all(|held| held.load(ORDER) == epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_opens_the_file_later_reads_what_was_noted() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("ledger");
        let one = Ledger::open(&path).unwrap();
        let id = one.take().unwrap();
        one.row(id).count(0, || assert_eq!((one.row(id).lower(), one.row(id).upper()), (0, 1)));
        one.row(id).count(1, || ());
        let other = Ledger::open(&path).unwrap();
        assert_eq!((other.n_taken(), other.row(id).lower(), other.row(id).upper()), (1, 2, 2));
        assert_eq!(other.row(id).state(), State::Starting);
        assert_eq!(other.row(1).state(), State::Void);
    }

    #[test]
    fn there_is_no_ledger_beyond_the_last() {
        let temp = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&temp.path().join("ledger")).unwrap();
        assert_eq!((0..MAX_WORKERS).filter_map(|_| ledger.take()).count(), MAX_WORKERS);
        assert_eq!((ledger.take(), ledger.n_taken()), (None, MAX_WORKERS));
    }
}
