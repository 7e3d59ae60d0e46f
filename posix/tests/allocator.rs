//! Forks of a program whose allocator holds its lock across them, as jemalloc does.
//!
//! Such an allocator registers its handlers with its first allocation. Where ours are registered before `main`, nothing may
//! have been allocated yet. Of all handlers those that were registered last are called first: the allocator's lock must
//! come last, because recorders allocate under their own locks. Without the test harness, which allocates before.
#![allow(unsafe_code, reason = "allocators, and functions before `main`, are unsafe")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use statvent_core::Registry;
use statvent_posix::{follow_forks, start_once};
use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

static STATS: Registry<8, 2, 64> = Registry::new();

// SAFETY: this section holds pointers to functions that the C library calls, once it is ready itself.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = follow;

extern "C" fn follow() {
    follow_forks(&STATS);
}

/// The system's allocator behind a lock that is held across forks.
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

extern "C" fn before() {
    acquire();
    // Makes likely what is rare: that another thread allocates while this one forks.
    for _ in 0..1000 {
        if N_WAITING.load(Ordering::Relaxed) > 0 {
            break;
        }
        thread::yield_now();
    }
}

extern "C" fn after() {
    LOCKED.store(false, Ordering::Release);
}

// SAFETY: all is done by the system's allocator, once the lock is taken.
unsafe impl GlobalAlloc for Locking {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        static REGISTERED: AtomicBool = AtomicBool::new(false);
        if !REGISTERED.swap(true, Ordering::Relaxed) {
            // SAFETY: plain functions that live as long as the program and do not unwind.
            unsafe { libc::pthread_atfork(Some(before), Some(after), Some(after)) };
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
            // Fails after a few steps, all of them under a lock.
            start_once(&STATS, Some(Path::new("/proc/none"))).unwrap_err();
        }
    });
    thread::spawn(move || {
        for _ in 0..300 {
            // SAFETY: the child ends at once.
            match unsafe { fork() }.unwrap() {
                // SAFETY: it ends the process.
                ForkResult::Child => unsafe { libc::_exit(0) },
                ForkResult::Parent { child } => {
                    assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
                }
            }
        }
        done.send(()).unwrap();
    });
    let is_through = ended.recv_timeout(Duration::from_secs(60)).is_ok();
    if !is_through {
        eprintln!("a fork and the start of a recorder wait for each other");
        // Not by an exit, which would wait for them.
        std::process::abort();
    }
    println!("test allocator::forks_during_recorder_starts_do_not_deadlock ... ok");
    // SAFETY: it ends the process. The thread that starts recorders goes on until then.
    unsafe { libc::_exit(0) };
}
