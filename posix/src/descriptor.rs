//! File descriptors of this crate, which a program may close or replace, and which a forked child must not keep.
//!
//! Owns the check before a descriptor is closed: a program that becomes a daemon closes all descriptors that it does not
//! know and opens files that get their numbers. A descriptor that was seen to be closed by the program is leaked, because
//! its number may be that of its successor, which leads to the same file. Also owns the list of those that a child closes.
#![allow(unsafe_code, reason = "nothing else drops in one case and not in another, or closes a bare number")]

use crate::lock::lock;
use crate::node::{FileId, Node};
use std::fs::File;
use std::io::{self, Read};
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// An open descriptor that is closed at the end only if it still leads to the file that it was opened for.
#[derive(Debug)]
pub(crate) struct FdGuard {
    file: ManuallyDrop<File>,
    id: Option<FileId>,
    /// Set once it was seen that the program closed it.
    is_lost: AtomicBool,
    is_kept_by_children: bool,
}

impl FdGuard {
    /// Guards a descriptor that forked children keep.
    pub(crate) fn kept_by_children(opened: OwnedFd) -> Self {
        Self::new(opened.into(), true)
    }

    /// Opens a descriptor that forked children close. `open` must not block: nothing can fork meanwhile.
    ///
    /// A child that kept it would hold its parent's proof of life, or the end of a pipe that somebody reads to the end; and
    /// those of all generations would add up.
    pub(crate) fn open<E>(open: impl FnOnce() -> Result<OwnedFd, E>) -> Result<Self, E> {
        let mut descriptors = lock(&DESCRIPTORS);
        let opened = Self::new(open()?.into(), false);
        descriptors.known.push(opened.known());
        Ok(opened)
    }

    /// As [`open`](Self::open), where `open` may block. It opens `file`, and for writing only.
    ///
    /// A child that is forked after the opening and before it is in the list closes whatever leads there.
    pub(crate) fn open_blocking<E>(
        file: FileId,
        open: impl FnOnce() -> Result<OwnedFd, E>,
    ) -> Result<Self, E> {
        lock(&DESCRIPTORS).awaited.push(file);
        let opened = open().map(|opened| Self::new(opened.into(), false));
        let mut descriptors = lock(&DESCRIPTORS);
        remove_one(&mut descriptors.awaited, &file);
        let opened = opened?;
        descriptors.known.push(opened.known());
        Ok(opened)
    }

    fn new(opened: File, is_kept_by_children: bool) -> Self {
        let (id, is_lost) = (file_id(&opened), AtomicBool::new(false));
        Self { file: ManuallyDrop::new(opened), id, is_lost, is_kept_by_children }
    }

    /// Says whether the program left it open. To be asked before another one is opened in its place: once the answer is no,
    /// it stays so.
    pub(crate) fn is_still_open(&self) -> bool {
        // Relaxed: the thread that opens the next one is the one that asked, or waited for the same lock.
        if file_id(&*self.file) != self.id {
            self.is_lost.store(true, Ordering::Relaxed);
        }
        !self.is_lost.load(Ordering::Relaxed)
    }

    fn known(&self) -> Known {
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
        // Closed under the lock, so that no child is forked in between.
        let mut descriptors = lock(&DESCRIPTORS);
        if !self.is_kept_by_children {
            // Where the program closed one of ours, the next may be the same.
            remove_one(&mut descriptors.known, &self.known());
        }
        if self.is_still_open() {
            // SAFETY: it is dropped here only, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.file) };
        }
    }
}

pub(crate) static DESCRIPTORS: Mutex<Descriptors> =
    Mutex::new(Descriptors { known: Vec::new(), awaited: Vec::new() });

/// A descriptor, and the file that it led to when it was opened.
type Known = (RawFd, Option<FileId>);

/// What a child must not keep.
pub(crate) struct Descriptors {
    known: Vec<Known>,
    /// Files that a thread is about to have open for writing, by a descriptor that is not known before.
    awaited: Vec<FileId>,
}

impl Descriptors {
    /// Closes them all, in a child. Their owners are never dropped there: the recorders' threads do not exist, and the rest is
    /// forgotten, by the handler or by `Recorder`.
    pub(crate) fn close_in_child(&mut self) {
        for (descriptor, file) in self.known.drain(..) {
            close_if(descriptor, |found| found == file);
        }
        if !self.awaited.is_empty() {
            // What leads to our own pipe and can only be written to is ours.
            let is_awaited = |found: Option<FileId>| found.is_some_and(|id| self.awaited.contains(&id));
            write_only().for_each(|descriptor| close_if(descriptor, is_awaited));
            self.awaited.clear();
        }
    }
}

fn close_if(descriptor: RawFd, is_ours: impl Fn(Option<FileId>) -> bool) {
    // SAFETY: used for this call only.
    if is_ours(file_id(unsafe { BorrowedFd::borrow_raw(descriptor) })) {
        // SAFETY: its owner is never dropped, see `close_in_child`.
        unsafe { libc::close(descriptor) };
    }
}

/// Removes one of those that are equal to `what`.
fn remove_one<T: PartialEq>(all: &mut Vec<T>, what: &T) {
    if let Some(at) = all.iter().position(|one| one == what) {
        all.swap_remove(at);
    }
}

/// How many numbers are looked at where the system does not tell which are in use.
const FALLBACK_TABLE_SIZE: RawFd = 1 << 16;

/// What to do where descriptors are used up, whatever they are wanted for.
pub(crate) const MORE_DESCRIPTORS: &str =
    "no descriptor is left: raise the limit of open files (`ulimit -n`; fs.file-max for the whole system)";

/// Says whether the process, or the system, has no descriptor left.
pub(crate) fn lacks_descriptors(err: &io::Error) -> bool {
    matches!(err.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// Returns which file a descriptor leads to; `None` if it is not open.
pub(crate) fn file_id(descriptor: impl AsFd) -> Option<FileId> {
    Node::of(descriptor).ok().map(|node| node.id)
}

/// Lists the descriptors of this process that can be written to and not read from. Allocates nothing.
fn write_only() -> impl Iterator<Item = RawFd> {
    (0..table_size()).filter(|number| {
        // SAFETY: asks for flags only; a number that is not open has none.
        let flags = unsafe { libc::fcntl(*number, libc::F_GETFL) };
        flags != -1 && flags & libc::O_ACCMODE == libc::O_WRONLY
    })
}

/// Returns what the number of every open descriptor is below.
fn table_size() -> RawFd {
    let from_system = || {
        let mut status = [0; 1024];
        let n_bytes = File::open("/proc/self/status").ok()?.read(&mut status).ok()?;
        let mut lines = status[..n_bytes].split(|byte| *byte == b'\n');
        let size = lines.find_map(|line| line.strip_prefix(b"FDSize:"))?;
        str::from_utf8(size).ok()?.trim().parse().ok()
    };
    // Not the limit: the program may have lowered that since.
    from_system().unwrap_or(FALLBACK_TABLE_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fork::{forking, register};
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::dup2_raw;
    use nix::unistd::{ForkResult, fork};
    use std::os::fd::FromRawFd;

    #[test]
    fn write_only_descriptors_are_found_at_any_number() {
        let (reader, writer) = std::io::pipe().unwrap();
        let far = nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(700)).unwrap();
        // SAFETY: it was opened here, and nobody else has it.
        let far = unsafe { OwnedFd::from_raw_fd(far) };
        let found: Vec<_> = write_only().collect();
        assert!(found.contains(&writer.as_raw_fd()) && found.contains(&far.as_raw_fd()), "{found:?}");
        assert!(!found.contains(&reader.as_raw_fd()), "{found:?}");
    }

    // 1. The program closes all descriptors. 2. We notice, and open our directory again, which gets the number that it had
    // before. 3. The old one ends: it leads to the same file, and the new one was closed.
    #[test]
    fn an_old_descriptor_does_not_close_a_new_one_of_its_number() {
        let temp = tempfile::tempdir().unwrap();
        let directory = || File::open(temp.path()).unwrap();
        let old = FdGuard::kept_by_children(directory().into());
        let number = old.as_raw_fd();
        // SAFETY: the number is that of `old`, which does not mind.
        std::mem::forget(unsafe { dup2_raw(File::open("/dev/null").unwrap(), number) }.unwrap());
        assert!(!old.is_still_open());
        // SAFETY: as above.
        let new = FdGuard::kept_by_children(unsafe { dup2_raw(directory(), number) }.unwrap());
        drop(old);
        assert!(new.is_still_open());
    }

    #[test]
    fn a_descriptor_is_closed_if_it_leads_where_it_did_and_a_strangers_is_not() {
        let temp = tempfile::tempdir().unwrap();
        let file = |name: &str| File::create(temp.path().join(name)).unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        drop(FdGuard::kept_by_children(writer.into()));
        assert_eq!(std::io::Read::read(&mut &reader, &mut [0]).unwrap(), 0, "it was closed");

        let own = FdGuard::kept_by_children(file("ours").into());
        let number = own.as_raw_fd();
        // SAFETY: the number is that of `own`, which does not mind.
        let replaced = unsafe { dup2_raw(file("a stranger's"), number) }.unwrap();
        std::mem::forget(replaced);
        assert!(!own.is_still_open());
        drop(own);
        // SAFETY: it was not closed, and nobody else has it.
        let stranger = unsafe { OwnedFd::from_raw_fd(number) };
        assert!(file_id(&stranger).is_some());
    }

    #[test]
    fn a_child_that_is_forked_between_an_opening_and_our_note_of_it_closes_it() {
        let _forking = forking();
        register();
        let (_reader, writer) = std::io::pipe().unwrap();
        let (number, file) = (writer.as_raw_fd(), file_id(&writer).unwrap());
        let opened = FdGuard::open_blocking(file, || {
            // SAFETY: the child asks for a descriptor, and ends.
            match unsafe { fork() }? {
                ForkResult::Child => {
                    // SAFETY: asks for flags alone.
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
        assert!(!lock(&DESCRIPTORS).awaited.contains(&file));
    }
}
