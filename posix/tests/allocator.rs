//! Forks in a program whose allocator holds its lock across `fork`, as jemalloc does.
//!
//! Lock order: recorders allocate while they hold their own locks, so `fork` must take the allocator's lock last.
//! 1. `pthread_atfork` calls the prepare handlers in reverse order of registration.
//! 2. So our handlers must be registered after the allocator's, which registers them at its first allocation.
//! 3. This program registers ours before `main`, when there may have been no allocation yet.
//!
//! No test harness: it would allocate first and hide the case.
#![allow(unsafe_code, reason = "allocators, and functions before `main`, are unsafe")]
#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use statvent_core::Registry;
use statvent_posix::{reset_on_fork, start_global};
use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

static STATS: Registry<8, 2, 64> = Registry::new();

// SAFETY: the section holds pointers to functions, which the C library calls after its own initialisation.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = follow;

extern "C" fn follow() {
    reset_on_fork(&STATS);
}

/// The system allocator behind a lock that is held across forks.
struct Locking;

#[global_allocator]
static ALLOCATOR: Locking = Locking;

static LOCKED: AtomicBool = AtomicBool::new(false);
static N_WAITING: AtomicU32 = AtomicU32::new(0);

fn acquire() {
    N_WAITING.fetch_add(1, Ordering::Relaxed);
    while LOCKED.swap(true, Ordering::Acquire) {
        thread::yield_now();
    }
    N_WAITING.fetch_sub(1, Ordering::Relaxed);
}

extern "C" fn prepare() {
    acquire();
    // Makes a rare race likely: another thread waits to allocate while this one forks.
    for _ in 0..1000 {
        if N_WAITING.load(Ordering::Relaxed) > 0 {
            break;
        }
        thread::yield_now();
    }
}

extern "C" fn release() {
    LOCKED.store(false, Ordering::Release);
}

// SAFETY: the system allocator does all the work, under the lock.
unsafe impl GlobalAlloc for Locking {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        static REGISTERED: AtomicBool = AtomicBool::new(false);
        if !REGISTERED.swap(true, Ordering::Relaxed) {
            // SAFETY: the handlers are static functions and do not unwind.
            unsafe { libc::pthread_atfork(Some(prepare), Some(release), Some(release)) };
        }
        acquire();
        // SAFETY: the caller's promise.
        let memory = unsafe { System.alloc(layout) };
        LOCKED.store(false, Ordering::Release);
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        acquire();
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) };
        LOCKED.store(false, Ordering::Release);
    }
}

fn main() {
    let (done, ended) = channel();
    thread::spawn(|| {
        loop {
            // Fails after a few steps. All of them run under a recorder lock.
            start_global(&STATS, Some(Path::new("/proc/none"))).unwrap_err();
        }
    });
    thread::spawn(move || {
        for _ in 0..300 {
            // SAFETY: the child calls only `_exit`.
            match unsafe { fork() }.unwrap() {
                // SAFETY: `_exit` only ends the process.
                ForkResult::Child => unsafe { libc::_exit(0) },
                ForkResult::Parent { child } => {
                    assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
                }
            }
        }
        done.send(()).unwrap();
    });
    let has_finished = ended.recv_timeout(Duration::from_secs(60)).is_ok();
    if !has_finished {
        eprintln!("deadlock between a fork and the start of a recorder");
        // `exit` would run handlers that wait for the same locks.
        std::process::abort();
    }
    println!("test allocator::forks_during_recorder_starts_do_not_deadlock ... ok");
    // SAFETY: `_exit` only ends the process. The thread that starts recorders runs until then.
    unsafe { libc::_exit(0) };
}
