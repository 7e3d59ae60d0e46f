//! Tallies: what each worker has counted, in a shared file that survives the worker.
//!
//! Owns the layout of the file and its memory mapping. A worker writes to its tally before and after each count. So the
//! total of a killed worker is known to lie between two numbers. Workers write here, the other modules only read.
#![allow(unsafe_code, reason = "a killed process leaves consistent data only in a memory-mapped file")]

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

/// The ordering of every access to the file. The bounds of a count rest on the order of its two writes, and speed does
/// not matter here.
const ORDER: Ordering = Ordering::SeqCst;

/// The tallies of all workers, and the flags by which the storm controls its workers.
#[repr(C)]
pub(crate) struct Tallies {
    n_allocated: AtomicU64,
    /// Odd while workers have to pause.
    epoch: AtomicU64,
    forks_allowed: AtomicU32,
    exit_requested: AtomicU32,
    tallies: [Tally; MAX_WORKERS],
}

/// The life cycle of a worker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum State {
    /// Not allocated, or its process could not be created.
    Unused,
    /// Its process is being created and will publish soon.
    Starting,
    /// Its pipe is published.
    Published,
    /// It exits by itself, at any moment from now on.
    Exiting,
}

/// The tally of one worker.
#[repr(C, align(64))]
pub(crate) struct Tally {
    state: AtomicU32,
    pid: AtomicU32,
    has_large_snapshot: AtomicU32,
    counts: [ThreadCount; THREADS],
    /// The last epoch in which each thread paused.
    paused_in: [AtomicU64; THREADS],
}

#[repr(C)]
struct ThreadCount {
    begun: AtomicU64,
    done: AtomicU64,
}

impl Tallies {
    /// Opens the file for the life of this process. Creates it if it is missing.
    pub(crate) fn open(path: &Path) -> io::Result<&'static Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        file.set_len(size_of::<Self>() as u64)?;
        let length = const { NonZeroUsize::new(size_of::<Self>()).unwrap() };
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the kernel chooses the address, so the mapping replaces no other one.
        let mapped = unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, &file, 0) }?;
        // SAFETY: the mapping has this length, starts at a page and is never unmapped. It holds only atomics, for which
        // all bit patterns are valid. No process shortens the file.
        Ok(unsafe { mapped.cast::<Self>().as_ref() })
    }

    /// Allocates a tally for a worker that is about to be created; `None` when all are in use.
    pub(crate) fn allocate(&self) -> Option<usize> {
        let id = self.n_allocated.fetch_add(1, ORDER) as usize;
        self.tallies.get(id)?.set_state(State::Starting);
        Some(id)
    }

    /// Returns how many tallies were allocated.
    pub(crate) fn n_allocated(&self) -> usize {
        (self.n_allocated.load(ORDER) as usize).min(MAX_WORKERS)
    }

    pub(crate) fn tally(&self, id: usize) -> &Tally {
        &self.tallies[id]
    }

    /// Returns the epoch: odd while workers have to pause.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(ORDER)
    }

    pub(crate) fn next_epoch(&self) -> u64 {
        self.epoch.fetch_add(1, ORDER) + 1
    }

    pub(crate) fn forks_allowed(&self) -> bool {
        self.forks_allowed.load(ORDER) != 0
    }

    pub(crate) fn set_forks_allowed(&self, forks_allowed: bool) {
        self.forks_allowed.store(forks_allowed.into(), ORDER);
    }

    pub(crate) fn exit_requested(&self) -> bool {
        self.exit_requested.load(ORDER) != 0
    }

    /// Asks all workers to exit.
    pub(crate) fn request_exit(&self) {
        self.exit_requested.store(1, ORDER);
    }
}

impl Tally {
    pub(crate) fn state(&self) -> State {
        match self.state.load(ORDER) {
            1 => State::Starting,
            2 => State::Published,
            3 => State::Exiting,
            _ => State::Unused,
        }
    }

    pub(crate) fn set_state(&self, state: State) {
        self.state.store(state as u32, ORDER);
    }

    /// Returns the worker's process, if it is known.
    pub(crate) fn pid(&self) -> Option<u32> {
        Some(self.pid.load(ORDER)).filter(|pid| *pid != 0)
    }

    pub(crate) fn set_pid(&self, pid: u32) {
        self.pid.store(pid, ORDER);
    }

    /// Returns whether the worker's snapshot is larger than the capacity of a pipe.
    pub(crate) fn has_large_snapshot(&self) -> bool {
        self.has_large_snapshot.load(ORDER) != 0
    }

    pub(crate) fn set_large_snapshot(&self, is_large: bool) {
        self.has_large_snapshot.store(is_large.into(), ORDER);
    }

    /// Writes that a count begins, runs it, and writes that it is done.
    pub(crate) fn count(&self, thread: usize, count: impl FnOnce()) {
        let thread_count = &self.counts[thread];
        thread_count.begun.fetch_add(1, ORDER);
        count();
        thread_count.done.fetch_add(1, ORDER);
    }

    /// Returns the least that the worker can have counted by now.
    pub(crate) fn lower(&self) -> u64 {
        self.counts.iter().map(|count| count.done.load(ORDER)).sum()
    }

    /// Returns the most that the worker can have counted by now.
    pub(crate) fn upper(&self) -> u64 {
        self.counts.iter().map(|count| count.begun.load(ORDER)).sum()
    }

    pub(crate) fn set_paused(&self, thread: usize, epoch: u64) {
        self.paused_in[thread].store(epoch, ORDER);
    }

    /// Returns whether all threads are paused in this epoch.
    pub(crate) fn is_paused(&self, epoch: u64) -> bool {
        self.paused_in.iter().all(|paused_in| paused_in.load(ORDER) == epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_mapping_of_the_file_reads_what_the_first_one_wrote() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("tallies");
        let one = Tallies::open(&path).unwrap();
        let id = one.allocate().unwrap();
        one.tally(id).count(0, || assert_eq!((one.tally(id).lower(), one.tally(id).upper()), (0, 1)));
        one.tally(id).count(1, || ());
        let other = Tallies::open(&path).unwrap();
        assert_eq!((other.n_allocated(), other.tally(id).lower(), other.tally(id).upper()), (1, 2, 2));
        assert_eq!(other.tally(id).state(), State::Starting);
        assert_eq!(other.tally(1).state(), State::Unused);
    }

    #[test]
    fn allocation_fails_when_all_tallies_are_in_use() {
        let temp = tempfile::tempdir().unwrap();
        let tallies = Tallies::open(&temp.path().join("tallies")).unwrap();
        assert_eq!((0..MAX_WORKERS).filter_map(|_| tallies.allocate()).count(), MAX_WORKERS);
        assert_eq!((tallies.allocate(), tallies.n_allocated()), (None, MAX_WORKERS));
    }
}
