//! A descriptor of ours, which a program may close or replace without knowing it.
//!
//! Owns the look before it is closed: programs that become daemons close all descriptors that they do not know, and open
//! files that get the numbers. So do we: one that was noticed to be lost is never closed, because its number may be that
//! of its successor, which leads to the same file. Also which of a process's descriptors can be written to, and what is
//! said where there is none left. Held by everything here that keeps a descriptor for longer than a call.
#![allow(unsafe_code, reason = "nothing else drops in one case and not in another")]

use crate::node::{FileId, Node};
use std::fs::File;
use std::io::{self, Read};
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// An open descriptor that is closed at the end only if it leads where it did.
#[derive(Debug)]
pub(crate) struct Own<T: AsFd> {
    opened: ManuallyDrop<T>,
    id: Option<FileId>,
    /// Noticed at least once.
    is_lost: AtomicBool,
}

impl<T: AsFd> Own<T> {
    pub(crate) fn new(opened: T) -> Self {
        let id = leads_to(&opened);
        Self { opened: ManuallyDrop::new(opened), id, is_lost: AtomicBool::new(false) }
    }

    /// Returns which file it led to when it was opened.
    pub(crate) fn id(&self) -> Option<FileId> {
        self.id
    }

    /// Says whether it leads there still, and so is ours. To be asked before another one is opened in its place: where the
    /// answer is no, it stays so.
    pub(crate) fn is_ours(&self) -> bool {
        // Relaxed: whoever opens the next one is whoever asked, or waited for the same lock.
        if leads_to(&*self.opened) != self.id {
            self.is_lost.store(true, Ordering::Relaxed);
        }
        !self.is_lost.load(Ordering::Relaxed)
    }
}

/// How many numbers are looked at where the system does not tell which are in use.
const MAX_UNTOLD: RawFd = 1 << 16;

/// What to do where descriptors are used up, whatever they are wanted for.
pub(crate) const MORE_DESCRIPTORS: &str =
    "no descriptor is left: raise the limit of open files (`ulimit -n`; fs.file-max for the whole system)";

/// Says whether the process, or the system, has no descriptor left.
pub(crate) fn lacks_descriptors(err: &io::Error) -> bool {
    matches!(err.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// Returns which file a descriptor leads to; `None` if it is not open.
pub(crate) fn leads_to(descriptor: impl AsFd) -> Option<FileId> {
    Node::of(descriptor).ok().map(|node| node.id)
}

/// Lists the descriptors of this process that can be written to and not read from. Allocates nothing.
pub(crate) fn write_ends() -> impl Iterator<Item = RawFd> {
    (0..table_size()).filter(|number| {
        // SAFETY: asks for flags alone; a number that is not open has none.
        let flags = unsafe { libc::fcntl(*number, libc::F_GETFL) };
        flags != -1 && flags & libc::O_ACCMODE == libc::O_WRONLY
    })
}

/// Returns what the number of every open descriptor is below.
fn table_size() -> RawFd {
    let told = || {
        let mut status = [0; 1024];
        let n_bytes = File::open("/proc/self/status").ok()?.read(&mut status).ok()?;
        let mut lines = status[..n_bytes].split(|byte| *byte == b'\n');
        let size = lines.find_map(|line| line.strip_prefix(b"FDSize:"))?;
        str::from_utf8(size).ok()?.trim().parse().ok()
    };
    // Not the limit: the program may have lowered that since.
    told().unwrap_or(MAX_UNTOLD)
}

impl<T: AsFd> Deref for Own<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.opened
    }
}

impl<T: AsFd> AsFd for Own<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.opened.as_fd()
    }
}

impl<T: AsFd> Drop for Own<T> {
    fn drop(&mut self) {
        if self.is_ours() {
            // SAFETY: it is dropped here alone, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.opened) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::dup2_raw;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    #[test]
    fn write_ends_are_found_at_any_number() {
        let (reader, writer) = std::io::pipe().unwrap();
        let far = nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(700)).unwrap();
        // SAFETY: it was opened here, and nobody else has it.
        let far = unsafe { OwnedFd::from_raw_fd(far) };
        let found: Vec<_> = write_ends().collect();
        assert!(found.contains(&writer.as_raw_fd()) && found.contains(&far.as_raw_fd()), "{found:?}");
        assert!(!found.contains(&reader.as_raw_fd()), "{found:?}");
    }

    // 1. The program closes all descriptors. 2. We notice, and open our directory again, which gets the number that it had
    // before. 3. The old one ends: it leads to the same file, and the new one was closed.
    #[test]
    fn an_old_descriptor_does_not_close_a_new_one_of_its_number() {
        let temp = tempfile::tempdir().unwrap();
        let directory = || File::open(temp.path()).unwrap();
        let old = Own::new(directory());
        let number = old.as_fd().as_raw_fd();
        // SAFETY: the number is that of `old`, which does not mind.
        std::mem::forget(unsafe { dup2_raw(File::open("/dev/null").unwrap(), number) }.unwrap());
        assert!(!old.is_ours());
        // SAFETY: as above.
        let new = Own::new(unsafe { dup2_raw(directory(), number) }.unwrap());
        drop(old);
        assert!(new.is_ours());
    }

    #[test]
    fn a_descriptor_is_closed_if_it_leads_where_it_did_and_a_strangers_is_not() {
        let temp = tempfile::tempdir().unwrap();
        let file = |name: &str| File::create(temp.path().join(name)).unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        drop(Own::new(writer));
        assert_eq!(std::io::Read::read(&mut &reader, &mut [0]).unwrap(), 0, "it was closed");

        let own = Own::new(file("ours"));
        let number = own.as_fd().as_raw_fd();
        // SAFETY: the number is that of `own`, which does not mind.
        let replaced = unsafe { dup2_raw(file("a stranger's"), number) }.unwrap();
        std::mem::forget(replaced);
        assert!(!own.is_ours());
        drop(own);
        // SAFETY: it was not closed, and nobody else has it.
        let stranger = unsafe { OwnedFd::from_raw_fd(number) };
        assert!(leads_to(&stranger).is_some());
    }
}
