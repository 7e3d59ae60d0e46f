//! What becomes of a process's recorders and registries when it forks: the child starts from zero and publishes nothing.
//!
//! Owns the handlers around `fork(2)`, the list of registries that follow it, and which descriptors the child must not
//! keep. What is set to zero is the registry's matter (`statvent_core::Reader::after_fork_in_child`). Called by the
//! builder, `once`, and whoever owns a registry without a recorder.
//!
//! Every lock of this crate that is static is held across the fork, so that the child finds none of them held by a
//! thread that it does not have. In the order of `Held`, as everywhere.
#![allow(
    unsafe_code,
    reason = "pthread_atfork has no safe wrapper, and nothing else hands locks over to a child"
)]

use crate::descriptor::{Own, leads_to, write_ends};
use crate::node::FileId;
use crate::pages::keep_off_huge_pages;
use crate::publication::Publication;
use crate::{exit, once, traces};
use statvent_core::{Reader, forget_threads_of_parent, hold_threads, release_threads};
use std::cell::UnsafeCell;
use std::fs::File;
use std::hint::black_box;
use std::mem::{self, ManuallyDrop};
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

/// Makes the children of this process start from zero in `registry`, with the same names; calls after the first one for
/// a registry change nothing.
///
/// A recorder does so for its registry, and the crate `statvent` for its global one before `main`. It is for a registry
/// that a process records into and whose children start recorders, while it has none itself. Followed are the forks of
/// `fork(3)` and of whatever calls it; not bare `clone(2)`, after which nothing of this library may be used.
///
/// Recording goes on in other threads while the process forks: what they count is the parent's alone. Registering a
/// new name or reading waits until the fork is done.
///
/// Also keeps the registry off huge pages, as far as nothing was recorded yet (`madvise(2)` with `MADV_NOHUGEPAGE`).
///
/// ```
/// use statvent_core::Registry;
///
/// static STATS: Registry<64, 0, 0> = Registry::new();
/// statvent_posix::follow_forks(&STATS);
/// ```
pub fn follow_forks(registry: impl Into<Reader<'static>>) {
    register();
    let registry = registry.into();
    let mut followed = lock(&FOLLOWED);
    if followed.iter().all(|known| known.memory() != registry.memory()) {
        followed.push(registry);
        drop(followed);
        keep_off_huge_pages(registry.memory());
    }
}

/// Has the handlers called from now on. Comes before any lock is taken: the system may hold one of its own while it calls
/// them.
pub(crate) fn register() {
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    // Relaxed: it guards nothing but the call itself.
    if !REGISTERED.swap(true, Ordering::Relaxed) {
        // An allocator may hold its lock across forks as well, and register that with the first allocation, which this may
        // be. What is registered later is called earlier: the allocator's lock would be taken before ours, while other
        // threads allocate under ours.
        drop(black_box(Box::new(0_u8)));
        // Refused for want of memory alone. SAFETY: plain functions that live as long as the program and do not unwind.
        unsafe { libc::pthread_atfork(Some(before), Some(after_in_parent), Some(after_in_child)) };
    }
}

/// Returns a number that tells this process from those that it was forked from; never 0.
///
/// It is made of the pid, which a bare `clone(2)` changes alone, and of how many forks lie between this process and the
/// first one that used this library: a child in a new pid namespace may have its parent's pid. Calls nothing that a
/// signal handler may not.
pub(crate) fn this_process() -> u64 {
    // Relaxed: it changes in the child's only thread, before any other.
    u64::from(process::id()) << 32 | u64::from(GENERATION.load(Ordering::Relaxed))
}

/// An open descriptor that children do not keep. Else they would hold a parent's proof of life, or its end of a pipe that
/// somebody reads to the end; and those of all generations would add up.
#[derive(Debug)]
pub(crate) struct NotInherited<T: AsFd = File>(ManuallyDrop<Own<T>>);

impl<T: AsFd> NotInherited<T> {
    /// Opens it while nobody can fork: must not wait.
    pub(crate) fn open<E>(open: impl FnOnce() -> Result<T, E>) -> Result<Self, E> {
        let mut descriptors = lock(&DESCRIPTORS);
        let opened = Self(ManuallyDrop::new(Own::new(open()?)));
        descriptors.known.push(opened.known());
        Ok(opened)
    }

    /// Opens it, for which it may wait: a descriptor that can be written to and leads to `file`, unless it fails.
    ///
    /// A child that is forked between the opening and our note of it closes whatever leads there.
    pub(crate) fn wait_to_open<E>(file: FileId, open: impl FnOnce() -> Result<T, E>) -> Result<Self, E> {
        lock(&DESCRIPTORS).awaited.push(file);
        let opened = open().map(|opened| Self(ManuallyDrop::new(Own::new(opened))));
        let mut descriptors = lock(&DESCRIPTORS);
        remove_one(&mut descriptors.awaited, &file);
        let opened = opened?;
        descriptors.known.push(opened.known());
        Ok(opened)
    }

    /// Says whether it was not closed by the program; see [`Own::is_ours`].
    pub(crate) fn is_ours(&self) -> bool {
        self.0.is_ours()
    }

    fn known(&self) -> Known {
        (self.0.as_fd().as_raw_fd(), self.0.id())
    }
}

impl<T: AsFd> Deref for NotInherited<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: AsFd> AsFd for NotInherited<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl<T: AsFd> Drop for NotInherited<T> {
    fn drop(&mut self) {
        let mut descriptors = lock(&DESCRIPTORS);
        // Where the program closed one of ours, the next may be the same.
        remove_one(&mut descriptors.known, &self.known());
        // Closed under the lock, so that no child is forked in between.
        // SAFETY: it is dropped here alone, and not used afterwards.
        unsafe { ManuallyDrop::drop(&mut self.0) };
    }
}

static GENERATION: AtomicU32 = AtomicU32::new(0);
static FOLLOWED: Mutex<Vec<Reader<'static>>> = Mutex::new(Vec::new());
static DESCRIPTORS: Mutex<Descriptors> = Mutex::new(Descriptors { known: Vec::new(), awaited: Vec::new() });

/// A descriptor, and which file it led to when it was opened.
type Known = (RawFd, Option<FileId>);

/// What a child must not keep.
struct Descriptors {
    known: Vec<Known>,
    /// Files that a thread is about to have open for writing, by a descriptor that nobody can know before.
    awaited: Vec<FileId>,
}

impl Descriptors {
    /// Closes them all, in a child. Whatever owns them there is never dropped: the recorders' threads do not exist, and the
    /// rest is forgotten, by the handler or by `Recorder`.
    fn close_in_child(&mut self) {
        for (descriptor, file) in self.known.drain(..) {
            // SAFETY: used for this call alone.
            if leads_to(unsafe { BorrowedFd::borrow_raw(descriptor) }) == file {
                // SAFETY: see above.
                unsafe { libc::close(descriptor) };
            }
        }
        if !self.awaited.is_empty() {
            for descriptor in write_ends() {
                // SAFETY: used for this call alone.
                let file = leads_to(unsafe { BorrowedFd::borrow_raw(descriptor) });
                if file.is_some_and(|file| self.awaited.contains(&file)) {
                    // SAFETY: what leads to our own pipe and can be written to is ours, see above.
                    unsafe { libc::close(descriptor) };
                }
            }
            self.awaited.clear();
        }
    }
}

/// What a thread that forks holds meanwhile.
struct Held {
    started: MutexGuard<'static, once::Started>,
    published: MutexGuard<'static, Vec<Weak<Publication>>>,
    followed: MutexGuard<'static, Vec<Reader<'static>>>,
    descriptors: MutexGuard<'static, Descriptors>,
}

/// Where `Held` is between the handlers.
struct AcrossFork(UnsafeCell<Option<Held>>);

// SAFETY: touched by the handlers alone, and by them only while the locks of `Held` are held: by one thread at a time.
unsafe impl Sync for AcrossFork {}

static ACROSS_FORK: AcrossFork = AcrossFork(UnsafeCell::new(None));

extern "C" fn before() {
    let held = Held {
        started: once::lock(),
        published: exit::lock(),
        followed: lock(&FOLLOWED),
        descriptors: lock(&DESCRIPTORS),
    };
    held.followed.iter().for_each(|registry| registry.before_fork());
    hold_threads();
    // SAFETY: see `AcrossFork`; all locks are held.
    unsafe { *ACROSS_FORK.0.get() = Some(held) };
}

extern "C" fn after_in_parent() {
    if let Some(held) = take_held() {
        release_threads();
        held.followed.iter().for_each(|registry| registry.after_fork_in_parent());
    }
}

extern "C" fn after_in_child() {
    let Some(mut held) = take_held() else { return };
    GENERATION.fetch_add(1, Ordering::Relaxed);
    held.descriptors.close_in_child();
    mem::forget(held.started.take());
    mem::forget(mem::take(&mut *held.published));
    traces::forget_pipes_of_parent();
    forget_threads_of_parent();
    held.followed.iter().for_each(|registry| registry.after_fork_in_child());
}

fn take_held() -> Option<Held> {
    // SAFETY: see `AcrossFork`; the thread that filled it holds all locks until what is taken here is dropped, and in the
    // child it is the only one.
    unsafe { (*ACROSS_FORK.0.get()).take() }
}

/// Removes one of those that are equal to `what`.
fn remove_one<T: PartialEq>(all: &mut Vec<T>, what: &T) {
    if let Some(at) = all.iter().position(|one| one == what) {
        all.swap_remove(at);
    }
}

fn lock<T>(mutex: &'static Mutex<T>) -> MutexGuard<'static, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps tests that fork from those that look for a lock to be gone, which a child has until it closed its copies.
#[cfg(test)]
static FORKING: std::sync::RwLock<()> = std::sync::RwLock::new(());

#[cfg(test)]
pub(crate) type NoForks = std::sync::RwLockReadGuard<'static, ()>;

/// Lets this test alone fork until it is dropped.
#[cfg(test)]
pub(crate) fn forking() -> std::sync::RwLockWriteGuard<'static, ()> {
    FORKING.write().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps other tests from forking until it is dropped. To be called once by a test.
#[cfg(test)]
pub(crate) fn no_forks() -> NoForks {
    FORKING.read().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};
    use std::os::fd::OwnedFd;

    #[test]
    fn a_child_that_is_forked_between_an_opening_and_our_note_of_it_closes_it() {
        let _forking = forking();
        register();
        let (_reader, writer) = std::io::pipe().unwrap();
        let (number, file) = (writer.as_raw_fd(), leads_to(&writer).unwrap());
        let opened = NotInherited::wait_to_open(file, || {
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
            nix::Result::Ok(File::from(OwnedFd::from(writer)))
        });
        assert!(opened.unwrap().is_ours());
        assert!(!lock(&DESCRIPTORS).awaited.contains(&file));
    }
}
