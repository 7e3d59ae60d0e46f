//! Fork handlers: a forked child counts from zero and has no recorder.
//!
//! Owns the handlers around `fork(2)`, the list of registries that are reset in a child, and the process's global recorder,
//! which a child must not keep. How a registry is reset is defined in `statvent_core` (`Reader::after_fork_in_child`); which
//! descriptors a child closes, in `sys::fd`.
//!
//! The forking thread holds every static lock of this crate across the fork. So no lock in the child belongs to a thread that
//! does not exist there. The order of the locks is that of the fields of `ForkGuards`, here and everywhere else.
#![allow(
    unsafe_code,
    reason = "pthread_atfork has no safe wrapper, and there is no safe way to hold locks across a fork"
)]

use crate::process::{cleanup_table, exit, generation};
use crate::recorder::endpoint::Endpoint;
use crate::recorder::handle::Recorder;
use crate::sys::fd::{CLOSE_ON_FORK, CloseOnFork};
use crate::sys::hugepages::disable_huge_pages;
use crate::sys::lock::lock;
use statvent_core::{Reader, free_shards_of_parent, freeze_shard_allocation, unfreeze_shard_allocation};
use std::cell::UnsafeCell;
use std::hint::black_box;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, Weak};

/// Makes forked children of this process start from zero in `registry`, with the same names. Further calls for the same
/// registry change nothing.
///
/// A recorder calls this for its registry, and the crate `statvent` calls it for the global registry before `main`. Call it
/// yourself for a registry that a process records into and only its children publish. It applies to `fork(3)` and to all
/// functions that call it, but not to a bare `clone(2)`, after which nothing of this library may be used.
///
/// Other threads can record while the process forks: what they count belongs to the parent. Registering a new name and
/// reading wait until the fork is done.
///
/// Also keeps the registry off huge pages, as far as nothing was recorded yet (`madvise(2)` with `MADV_NOHUGEPAGE`).
///
/// ```
/// use statvent_core::Registry;
///
/// static STATS: Registry<64, 0, 0> = Registry::new();
/// statvent_posix::reset_on_fork(&STATS);
/// ```
pub fn reset_on_fork(registry: impl Into<Reader<'static>>) {
    install_handlers();
    let registry = registry.into();
    let mut registries = lock(&REGISTRIES);
    if registries.iter().all(|known| known.memory() != registry.memory()) {
        registries.push(registry);
        drop(registries);
        disable_huge_pages(registry.memory());
    }
}

/// Installs the fork handlers once per process. Call it before taking any lock: the system may hold a lock of its own while it
/// runs the handlers.
pub(crate) fn install_handlers() {
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    // Relaxed: it guards only the call itself.
    if !INSTALLED.swap(true, Ordering::Relaxed) {
        // An allocator may hold its lock across forks too, and install handlers for that at the first allocation, which this
        // may be. Handlers installed later run earlier: the allocator's lock would be taken before ours, while other threads
        // allocate under ours. So allocate first.
        drop(black_box(Box::new(0_u8)));
        // Fails only without memory. SAFETY: plain functions that live as long as the program and do not unwind.
        unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
    }
}

/// The recorder that `recorder::global` starts once per process. A child has none, and may start its own.
pub(crate) static GLOBAL_RECORDER: Mutex<Option<Recorder>> = Mutex::new(None);

/// The registries that start from zero in a child.
static REGISTRIES: Mutex<Vec<Reader<'static>>> = Mutex::new(Vec::new());

/// The locks that a forking thread holds across the fork.
struct ForkGuards {
    global_recorder: MutexGuard<'static, Option<Recorder>>,
    endpoints: MutexGuard<'static, Vec<Weak<Endpoint>>>,
    registries: MutexGuard<'static, Vec<Reader<'static>>>,
    close_on_fork: MutexGuard<'static, CloseOnFork>,
}

/// Holds the `ForkGuards` between the handlers.
struct AcrossFork(UnsafeCell<Option<ForkGuards>>);

// SAFETY: only the handlers access it, and only while the locks of `ForkGuards` are held: one thread at a time.
unsafe impl Sync for AcrossFork {}

static ACROSS_FORK: AcrossFork = AcrossFork(UnsafeCell::new(None));

extern "C" fn prepare() {
    let guards = ForkGuards {
        global_recorder: lock(&GLOBAL_RECORDER),
        endpoints: lock(&exit::ENDPOINTS),
        registries: lock(&REGISTRIES),
        close_on_fork: lock(&CLOSE_ON_FORK),
    };
    guards.registries.iter().for_each(|registry| registry.before_fork());
    freeze_shard_allocation();
    // SAFETY: see `AcrossFork`; all locks are held.
    unsafe { *ACROSS_FORK.0.get() = Some(guards) };
}

extern "C" fn parent() {
    if let Some(guards) = take_guards() {
        unfreeze_shard_allocation();
        guards.registries.iter().for_each(|registry| registry.after_fork_in_parent());
    }
}

extern "C" fn child() {
    let Some(mut guards) = take_guards() else { return };
    generation::start_generation();
    guards.close_on_fork.close_in_child();
    mem::forget(guards.global_recorder.take());
    mem::forget(mem::take(&mut *guards.endpoints));
    cleanup_table::reset_in_child();
    free_shards_of_parent();
    guards.registries.iter().for_each(|registry| registry.after_fork_in_child());
}

fn take_guards() -> Option<ForkGuards> {
    // SAFETY: see `AcrossFork`; the thread that filled it holds all locks until the value taken here is dropped, and in the
    // child it is the only thread.
    unsafe { (*ACROSS_FORK.0.get()).take() }
}

#[cfg(test)]
pub(crate) use tests::{NoForks, forking, no_forks};

#[cfg(test)]
mod tests {
    use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

    /// Separates tests that fork from tests that expect a lock byte to be free: a child holds it until it closed its copies.
    static FORKING: RwLock<()> = RwLock::new(());

    pub(crate) type NoForks = RwLockReadGuard<'static, ()>;

    /// Allows only this test to fork until the guard is dropped.
    pub(crate) fn forking() -> RwLockWriteGuard<'static, ()> {
        FORKING.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps other tests from forking until the guard is dropped. Call it at most once per test.
    pub(crate) fn no_forks() -> NoForks {
        FORKING.read().unwrap_or_else(PoisonError::into_inner)
    }
}
