//! Guards of file descriptors that the program may close or replace, and that forked children close.
//!
//! Owns the check before a descriptor is closed. A program that becomes a daemon closes all descriptors it does not know, and
//! opens files that get the same numbers. So a descriptor is closed only if it still refers to the file it was opened for. If
//! the program closed it, we never close its number: that may belong to a descriptor that we opened later for the same file.
//! Also owns the list of descriptors that a forked child closes.
#![allow(unsafe_code, reason = "there is no safe way to drop conditionally or to close a bare number")]

use crate::limits::FALLBACK_FD_TABLE_SIZE;
use crate::sys::lock::lock;
use crate::sys::stat::{FileId, FileStat};
use std::fs::File;
use std::io::{self, Read};
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// An open descriptor. Dropping it closes the descriptor only if it still refers to the file it was opened for.
#[derive(Debug)]
pub(crate) struct FdGuard {
    file: ManuallyDrop<File>,
    id: Option<FileId>,
    /// Set once we noticed that the program closed it.
    closed_externally: AtomicBool,
    is_inherited: bool,
}

impl FdGuard {
    /// Guards a descriptor that forked children keep.
    pub(crate) fn inherited(opened: OwnedFd) -> Self {
        Self::new(opened.into(), true)
    }

    /// Opens a descriptor that forked children close. `open` must not block, because no thread can fork meanwhile.
    ///
    /// A child that kept the descriptor would keep its parent's lock byte locked, or keep a reader waiting for the end of its
    /// pipe. Over several generations such descriptors would add up.
    pub(crate) fn open<E>(open: impl FnOnce() -> Result<OwnedFd, E>) -> Result<Self, E> {
        let mut fds = lock(&CLOSE_ON_FORK);
        let opened = Self::new(open()?.into(), false);
        fds.open.push(opened.entry());
        Ok(opened)
    }

    /// Like [`open`](Self::open), for an `open` that may block. It must open `file`, write-only.
    ///
    /// A child forked between the opening and its registration here closes all write-only descriptors of that file.
    pub(crate) fn open_blocking<E>(
        file: FileId,
        open: impl FnOnce() -> Result<OwnedFd, E>,
    ) -> Result<Self, E> {
        lock(&CLOSE_ON_FORK).opening.push(file);
        let opened = open().map(|opened| Self::new(opened.into(), false));
        let mut fds = lock(&CLOSE_ON_FORK);
        remove_one(&mut fds.opening, &file);
        let opened = opened?;
        fds.open.push(opened.entry());
        Ok(opened)
    }

    fn new(opened: File, is_inherited: bool) -> Self {
        let (id, closed_externally) = (file_id(&opened), AtomicBool::new(false));
        Self { file: ManuallyDrop::new(opened), id, closed_externally, is_inherited }
    }

    /// Returns whether the program left the descriptor open. Once `false`, it stays `false`. Ask before opening a
    /// replacement, which may get the same number.
    pub(crate) fn is_still_open(&self) -> bool {
        // Relaxed: the thread that opens a replacement is the one that asked, or it waited for the same lock.
        if file_id(&*self.file) != self.id {
            self.closed_externally.store(true, Ordering::Relaxed);
        }
        !self.closed_externally.load(Ordering::Relaxed)
    }

    fn entry(&self) -> FdEntry {
        (self.file.as_raw_fd(), self.id)
    }
}

impl Deref for FdGuard {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl Drop for FdGuard {
    fn drop(&mut self) {
        // The lock is held while closing, so that no fork comes in between.
        let mut fds = lock(&CLOSE_ON_FORK);
        if !self.is_inherited {
            // Equal entries are possible: after the program closed a descriptor, the next one may get its number.
            remove_one(&mut fds.open, &self.entry());
        }
        if self.is_still_open() {
            // SAFETY: it is dropped only here and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.file) };
        }
    }
}

pub(crate) static CLOSE_ON_FORK: Mutex<CloseOnFork> =
    Mutex::new(CloseOnFork { open: Vec::new(), opening: Vec::new() });

/// A descriptor, and the file it referred to when it was opened.
type FdEntry = (RawFd, Option<FileId>);

/// The descriptors that a forked child must close.
pub(crate) struct CloseOnFork {
    open: Vec<FdEntry>,
    /// Files that a thread is opening write-only right now; the descriptor is not known yet.
    opening: Vec<FileId>,
}

impl CloseOnFork {
    /// Closes all of them, in a child. Their owners are never dropped there: the recorders' threads do not exist, and the fork
    /// handler or `Recorder::drop` forgets the rest.
    pub(crate) fn close_in_child(&mut self) {
        for (fd, file) in self.open.drain(..) {
            close_if(fd, |found| found == file);
        }
        if !self.opening.is_empty() {
            // Only this crate opens its own pipe write-only.
            let is_opening = |found: Option<FileId>| found.is_some_and(|id| self.opening.contains(&id));
            write_only_fds().for_each(|fd| close_if(fd, is_opening));
            self.opening.clear();
        }
    }
}

fn close_if(fd: RawFd, matches: impl Fn(Option<FileId>) -> bool) {
    // SAFETY: borrowed for this call only.
    if matches(file_id(unsafe { BorrowedFd::borrow_raw(fd) })) {
        // SAFETY: its owner is never dropped, see `close_in_child`.
        unsafe { libc::close(fd) };
    }
}

/// Removes one of the elements that equal `element`.
fn remove_one<T: PartialEq>(all: &mut Vec<T>, element: &T) {
    if let Some(idx) = all.iter().position(|one| one == element) {
        all.swap_remove(idx);
    }
}

/// Returns whether an error means that the process or the system has no descriptor left.
pub(crate) fn is_fd_exhaustion(err: &io::Error) -> bool {
    matches!(err.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// Returns the file that a descriptor refers to; `None` if it is not open.
pub(crate) fn file_id(fd: impl AsFd) -> Option<FileId> {
    FileStat::of_fd(fd).ok().map(|stat| stat.id)
}

/// Lists the write-only descriptors of this process. Does not allocate.
fn write_only_fds() -> impl Iterator<Item = RawFd> {
    (0..fd_table_size()).filter(|fd| {
        // SAFETY: only reads flags; the call fails for a number that is not open.
        let flags = unsafe { libc::fcntl(*fd, libc::F_GETFL) };
        flags != -1 && flags & libc::O_ACCMODE == libc::O_WRONLY
    })
}

/// Returns an upper bound of all open descriptor numbers (exclusive).
fn fd_table_size() -> RawFd {
    let from_system = || {
        let mut status = [0; 1024];
        let n_bytes = File::open("/proc/self/status").ok()?.read(&mut status).ok()?;
        let mut lines = status[..n_bytes].split(|byte| *byte == b'\n');
        let size = lines.find_map(|line| line.strip_prefix(b"FDSize:"))?;
        str::from_utf8(size).ok()?.trim().parse().ok()
    };
    // Not RLIMIT_NOFILE: the program may have lowered it after opening higher numbers.
    from_system().unwrap_or(FALLBACK_FD_TABLE_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::fork::{forking, install_handlers};
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::dup2_raw;
    use nix::unistd::{ForkResult, fork};
    use std::os::fd::FromRawFd;

    #[test]
    fn write_only_descriptors_are_found_at_any_number() {
        let (reader, writer) = std::io::pipe().unwrap();
        let far = nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(700)).unwrap();
        // SAFETY: opened by the call above, and owned only here.
        let far = unsafe { OwnedFd::from_raw_fd(far) };
        let found: Vec<_> = write_only_fds().collect();
        assert!(found.contains(&writer.as_raw_fd()) && found.contains(&far.as_raw_fd()), "{found:?}");
        assert!(!found.contains(&reader.as_raw_fd()), "{found:?}");
    }

    // 1. The program closes all descriptors.
    // 2. We notice and open our directory again, which gets the same number.
    // 3. The old guard is dropped: its number refers to the same file, and it closed the new descriptor.
    #[test]
    fn an_old_descriptor_does_not_close_a_new_one_of_its_number() {
        let temp = tempfile::tempdir().unwrap();
        let directory = || File::open(temp.path()).unwrap();
        let old = FdGuard::inherited(directory().into());
        let number = old.as_raw_fd();
        // SAFETY: the number belongs to `old`, which allows that it is replaced.
        std::mem::forget(unsafe { dup2_raw(File::open("/dev/null").unwrap(), number) }.unwrap());
        assert!(!old.is_still_open());
        // SAFETY: as above.
        let new = FdGuard::inherited(unsafe { dup2_raw(directory(), number) }.unwrap());
        drop(old);
        assert!(new.is_still_open());
    }

    #[test]
    fn a_descriptor_is_closed_unless_its_number_refers_to_another_file() {
        let temp = tempfile::tempdir().unwrap();
        let file = |name: &str| File::create(temp.path().join(name)).unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        drop(FdGuard::inherited(writer.into()));
        assert_eq!(std::io::Read::read(&mut &reader, &mut [0]).unwrap(), 0, "it was closed");

        let own = FdGuard::inherited(file("ours").into());
        let number = own.as_raw_fd();
        // SAFETY: the number belongs to `own`, which allows that it is replaced.
        let replaced = unsafe { dup2_raw(file("of the program"), number) }.unwrap();
        std::mem::forget(replaced);
        assert!(!own.is_still_open());
        drop(own);
        // SAFETY: it was not closed, and has no other owner.
        let of_program = unsafe { OwnedFd::from_raw_fd(number) };
        assert!(file_id(&of_program).is_some());
    }

    #[test]
    fn a_child_that_is_forked_between_an_opening_and_its_registration_closes_it() {
        let _forking = forking();
        install_handlers();
        let (_reader, writer) = std::io::pipe().unwrap();
        let (number, file) = (writer.as_raw_fd(), file_id(&writer).unwrap());
        let opened = FdGuard::open_blocking(file, || {
            // SAFETY: the child only checks a descriptor and ends.
            match unsafe { fork() }? {
                ForkResult::Child => {
                    // SAFETY: only reads flags.
                    let is_open = unsafe { libc::fcntl(number, libc::F_GETFL) } != -1;
                    // SAFETY: it ends the process.
                    unsafe { libc::_exit(i32::from(is_open)) }
                }
                ForkResult::Parent { child } => {
                    assert_eq!(waitpid(child, None)?, WaitStatus::Exited(child, 0))
                }
            }
            nix::Result::Ok(OwnedFd::from(writer))
        });
        assert!(opened.unwrap().is_still_open());
        assert!(!lock(&CLOSE_ON_FORK).opening.contains(&file));
    }
}
