//! Cleanup table: the pipes that a signal handler removes when a signal ends the process.
//!
//! Owns a table of fixed size. Each recorder has one slot: the directory's descriptor, the pipe's name and the file's
//! identity. No function here allocates or takes a lock, and every wait is bounded. A slot may be read while it changes, so the
//! file is compared with the recorded identity before it is removed.
#![allow(unsafe_code, reason = "a descriptor in an atomic is a bare number")]

use crate::limits::{CHANGE_WAIT_MILLIS, CLEANUP_NAME_BYTES, HANDLER_WAIT_MILLIS, MAX_CLEANUP_SLOTS};
use crate::process::generation::process_generation;
use crate::sys::stat::{FileId, FileStat};
use nix::poll::{PollTimeout, poll};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::OsStr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU64, Ordering};

/// One recorder's slot in the table.
///
/// All loads and stores are relaxed except those of `is_changing`: its Release at the end of a change pairs with the Acquire
/// at the start of the next one.
#[derive(Debug)]
pub(crate) struct CleanupSlot {
    /// The owner's [`process_generation`]; 0 if the slot is free.
    owner: AtomicU64,
    /// Set while the owner creates, renames or removes files, and while a signal ends the process.
    is_changing: AtomicBool,
    dir: AtomicI32,
    dev: AtomicU64,
    ino: AtomicU64,
    /// Ends with a zero byte; empty if there is no pipe.
    name: [AtomicU8; CLEANUP_NAME_BYTES],
}

static TABLE: [CleanupSlot; MAX_CLEANUP_SLOTS] = [const { CleanupSlot::new() }; MAX_CLEANUP_SLOTS];

impl CleanupSlot {
    const fn new() -> Self {
        Self {
            owner: AtomicU64::new(0),
            is_changing: AtomicBool::new(false),
            dir: AtomicI32::new(-1),
            dev: AtomicU64::new(0),
            ino: AtomicU64::new(0),
            name: [const { AtomicU8::new(0) }; CLEANUP_NAME_BYTES],
        }
    }

    /// Acquires a free slot; `None` if the table is full.
    pub(crate) fn acquire() -> Option<&'static Self> {
        let generation = process_generation();
        TABLE.iter().find(|slot| {
            // A free slot names no pipe, so a signal right after this removes nothing.
            slot.owner.compare_exchange(0, generation, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        })
    }

    /// Frees the slot.
    pub(crate) fn release(&self) {
        self.set(None);
        self.owner.store(0, Ordering::Relaxed);
    }

    /// Begins a change of files. Waits while a signal ends the process.
    pub(crate) fn begin_change(&self) {
        // After the timeout the process is not going to end: a debugger suppressed the signal. So continue.
        let _ = self.try_begin_change(&mut { CHANGE_WAIT_MILLIS });
    }

    /// Ends a change and records the pipe that exists now.
    pub(crate) fn end_change(&self, pipe: Option<(BorrowedFd<'_>, &OsStr, FileId)>) {
        self.set(pipe);
        self.is_changing.store(false, Ordering::Release);
    }

    fn set(&self, pipe: Option<(BorrowedFd<'_>, &OsStr, FileId)>) {
        let Some((dir, name, id)) = pipe.filter(|(_, name, _)| name.len() < CLEANUP_NAME_BYTES) else {
            return self.name[0].store(0, Ordering::Relaxed);
        };
        self.dir.store(dir.as_raw_fd(), Ordering::Relaxed);
        self.dev.store(id.dev, Ordering::Relaxed);
        self.ino.store(id.ino, Ordering::Relaxed);
        for (to, byte) in self.name.iter().zip(name.as_bytes().iter().copied().chain([0])) {
            to.store(byte, Ordering::Relaxed);
        }
    }

    /// Blocks other changes; `false` if another change outlasts the wait. `wait_millis` counts down, so that several slots
    /// share it.
    fn try_begin_change(&self, wait_millis: &mut u32) -> bool {
        while self.is_changing.swap(true, Ordering::Acquire) {
            if *wait_millis == 0 {
                return false;
            }
            *wait_millis -= 1;
            // poll(2) is an async-signal-safe way to sleep.
            let _ = poll(&mut [], PollTimeout::from(1_u8));
        }
        true
    }

    /// Removes the pipe if its name still refers to it.
    fn remove_pipe(&self) {
        let name: [u8; CLEANUP_NAME_BYTES] = std::array::from_fn(|i| self.name[i].load(Ordering::Relaxed));
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let dir = self.dir.load(Ordering::Relaxed);
        if name.is_empty() || dir < 0 {
            return;
        }
        // SAFETY: it is not -1, and is used only for the two calls below. If it was closed, or reused for another file, the
        // name does not refer to our pipe from there.
        let dir = unsafe { BorrowedFd::borrow_raw(dir) };
        let own = FileId { dev: self.dev.load(Ordering::Relaxed), ino: self.ino.load(Ordering::Relaxed) };
        // Neither call allocates for a name as short as this.
        let name = OsStr::from_bytes(name);
        if FileStat::at(dir, name).is_ok_and(|found| found.is_some_and(|found| found.id == own)) {
            let _ = unlinkat(dir, name, UnlinkatFlags::NoRemoveDir);
        }
    }
}

/// Removes the pipes of this process and keeps all threads from creating new ones. Async-signal-safe, on a thread that is not
/// changing files.
pub(crate) fn remove_all() {
    let mut wait_millis = HANDLER_WAIT_MILLIS;
    for slot in slots_of_this_process() {
        // If a change takes too long, the recorded pipe is removed nevertheless.
        let _ = slot.try_begin_change(&mut wait_millis);
    }
    slots_of_this_process().for_each(CleanupSlot::remove_pipe);
}

/// Frees all slots, in a forked child before it starts a thread. The pipes belong to the parent, which may have been changing
/// one when it forked.
pub(crate) fn reset_in_child() {
    TABLE.iter().for_each(|slot| {
        slot.release();
        slot.is_changing.store(false, Ordering::Release);
    });
}

/// Allows changes again, because the process did not end.
pub(crate) fn allow_changes() {
    slots_of_this_process().for_each(|slot| slot.is_changing.store(false, Ordering::Release));
}

fn slots_of_this_process() -> impl Iterator<Item = &'static CleanupSlot> {
    let generation = process_generation();
    TABLE.iter().filter(move |slot| slot.owner.load(Ordering::Relaxed) == generation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipe::name::{Label, PipeName};
    use std::fs::{self, File};
    use std::os::fd::AsFd;
    use std::sync::Mutex;

    /// Held by tests that use the table.
    static TABLE_IN_USE: Mutex<()> = Mutex::new(());

    #[test]
    fn a_name_is_removed_only_if_it_refers_to_our_pipe() {
        let temp = tempfile::tempdir().unwrap();
        let dir = File::open(temp.path()).unwrap();
        let path = temp.path().join("1.stats");
        let slot = CleanupSlot::new();
        slot.remove_pipe();
        let own = FileStat::of_fd(File::create(&path).unwrap()).unwrap().id;
        slot.begin_change();
        slot.end_change(Some((dir.as_fd(), "1.stats".as_ref(), own)));
        fs::rename(&path, temp.path().join("elsewhere")).unwrap();
        fs::write(&path, "precious").unwrap();
        slot.remove_pipe();
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        fs::rename(temp.path().join("elsewhere"), &path).unwrap();
        slot.remove_pipe();
        assert!(!path.exists());
    }

    #[test]
    fn the_wait_for_a_change_in_progress_ends() {
        let slot = CleanupSlot::new();
        slot.begin_change();
        let mut wait_millis = 3;
        assert!(!slot.try_begin_change(&mut wait_millis));
        slot.end_change(None);
        assert!(slot.try_begin_change(&mut wait_millis));
    }

    #[test]
    fn slots_are_released_and_a_full_table_is_no_error() {
        let _in_use = TABLE_IN_USE.lock().unwrap();
        let all: Vec<_> = std::iter::from_fn(CleanupSlot::acquire).collect();
        assert!(all.len() <= MAX_CLEANUP_SLOTS && CleanupSlot::acquire().is_none());
        all.iter().for_each(|slot| slot.release());
        CleanupSlot::acquire().unwrap().release();
    }

    // 1. A child inherits its parent's slot.
    // 2. A signal ends it before it resets the slot: it removed its parent's pipe.
    #[test]
    fn a_child_has_no_slot_of_its_parents_pipes_from_the_beginning() {
        let _in_use = TABLE_IN_USE.lock().unwrap();
        let _forking = crate::process::fork::forking();
        crate::process::fork::install_handlers();
        let temp = tempfile::tempdir().unwrap();
        let dir = File::open(temp.path()).unwrap();
        let own = FileStat::of_fd(File::create(temp.path().join("1.stats")).unwrap()).unwrap().id;
        let slot = CleanupSlot::acquire().unwrap();
        slot.begin_change();
        slot.end_change(Some((dir.as_fd(), "1.stats".as_ref(), own)));
        slot.begin_change();
        // SAFETY: the child only reads and writes atomics, and ends.
        match unsafe { nix::unistd::fork() }.unwrap() {
            nix::unistd::ForkResult::Child => {
                let is_empty = slot.name[0].load(Ordering::Relaxed) == 0;
                let is_free = slot.owner.load(Ordering::Relaxed) == 0 && slot.try_begin_change(&mut 0);
                // SAFETY: it ends the process.
                unsafe { libc::_exit(i32::from(!(is_empty && is_free))) }
            }
            nix::unistd::ForkResult::Parent { child } => {
                let ended = nix::sys::wait::waitpid(child, None);
                assert_eq!(ended, Ok(nix::sys::wait::WaitStatus::Exited(child, 0)));
            }
        }
        slot.end_change(None);
        slot.release();
    }

    #[test]
    fn the_longest_name_fits() {
        let label = "l".repeat(64);
        let name = PipeName { label: Label::new(&label), pid: u32::MAX, instance: u16::MAX };
        assert!(name.to_string().len() < CLEANUP_NAME_BYTES);
    }
}
