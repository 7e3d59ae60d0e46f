//! What becomes of a process's recorders and registries when it forks: the child starts from zero and publishes nothing.
//!
//! Owns the handlers around `fork(2)` and the list of registries that follow it. What is set to zero is the registry's
//! matter (`statvent_core::Reader::after_fork_in_child`); which descriptors the child closes is `descriptor`'s.
//!
//! Every lock of this crate that is static is held across the fork, so that the child finds none of them held by a
//! thread that it does not have. In the order of `Held`, as everywhere.
#![allow(
    unsafe_code,
    reason = "pthread_atfork has no safe wrapper, and nothing else hands locks over to a child"
)]

use crate::descriptor::{self, DESCRIPTORS};
use crate::handle::Recorder;
use crate::lock::lock;
use crate::pages::keep_off_huge_pages;
use crate::publication::Publication;
use crate::{exit, once, traces};
use statvent_core::{Reader, free_shards_of_parent, freeze_shard_allocation, unfreeze_shard_allocation};
use std::cell::UnsafeCell;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, Weak};
use std::{mem, process};

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

static GENERATION: AtomicU32 = AtomicU32::new(0);
static FOLLOWED: Mutex<Vec<Reader<'static>>> = Mutex::new(Vec::new());

/// What a thread that forks holds meanwhile.
struct Held {
    started: MutexGuard<'static, Option<Recorder>>,
    published: MutexGuard<'static, Vec<Weak<Publication>>>,
    followed: MutexGuard<'static, Vec<Reader<'static>>>,
    descriptors: MutexGuard<'static, descriptor::Descriptors>,
}

/// Where `Held` is between the handlers.
struct AcrossFork(UnsafeCell<Option<Held>>);

// SAFETY: touched by the handlers alone, and by them only while the locks of `Held` are held: by one thread at a time.
unsafe impl Sync for AcrossFork {}

static ACROSS_FORK: AcrossFork = AcrossFork(UnsafeCell::new(None));

extern "C" fn before() {
    let held = Held {
        started: lock(&once::STARTED),
        published: lock(&exit::PUBLISHED),
        followed: lock(&FOLLOWED),
        descriptors: lock(&DESCRIPTORS),
    };
    held.followed.iter().for_each(|registry| registry.before_fork());
    freeze_shard_allocation();
    // SAFETY: see `AcrossFork`; all locks are held.
    unsafe { *ACROSS_FORK.0.get() = Some(held) };
}

extern "C" fn after_in_parent() {
    if let Some(held) = take_held() {
        unfreeze_shard_allocation();
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
    free_shards_of_parent();
    held.followed.iter().for_each(|registry| registry.after_fork_in_child());
}

fn take_held() -> Option<Held> {
    // SAFETY: see `AcrossFork`; the thread that filled it holds all locks until what is taken here is dropped, and in the
    // child it is the only one.
    unsafe { (*ACROSS_FORK.0.get()).take() }
}

#[cfg(test)]
pub(crate) use tests::{NoForks, forking, no_forks};

#[cfg(test)]
mod tests {
    use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

    /// Keeps tests that fork from those that look for a lock to be gone, which a child has until it closed its copies.
    static FORKING: RwLock<()> = RwLock::new(());

    pub(crate) type NoForks = RwLockReadGuard<'static, ()>;

    /// Lets this test alone fork until it is dropped.
    pub(crate) fn forking() -> RwLockWriteGuard<'static, ()> {
        FORKING.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps other tests from forking until it is dropped. To be called once by a test.
    pub(crate) fn no_forks() -> NoForks {
        FORKING.read().unwrap_or_else(PoisonError::into_inner)
    }
}
