//! Forks of recording processes: parent and child count exactly, and the child starts from zero.

#![allow(clippy::unwrap_used, unsafe_code, reason = "a panic fails the test; the tests fork")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use statvent::{Registry, Value, incr, record, reset_on_fork, set};

/// Forks a child that runs `work` and exits: with 0 if `work` returned, with 1 if it panicked.
fn child(work: impl FnOnce()) -> Pid {
    // SAFETY: the child calls only functions that work in a forked child, and exits without the exit handlers.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            // 60 s: far more than a child needs; a child that hangs is killed then.
            nix::unistd::alarm::set(60);
            let result = catch_unwind(AssertUnwindSafe(work));
            // SAFETY: it only ends the process.
            unsafe { libc::_exit(i32::from(result.is_err())) }
        }
    }
}

/// Waits for the child; `true` if it succeeded. The alarm ends a child that hangs.
fn succeeds(child: Pid) -> bool {
    waitpid(child, None) == Ok(WaitStatus::Exited(child, 0))
}

/// Runs `work` in a thread and joins it. Does not use `std::thread`, which takes a lock when a thread starts or ends: if a
/// thread of the parent holds that lock during the fork, it is never released in the child.
fn in_a_thread(work: fn()) {
    extern "C" fn run(work: *mut libc::c_void) -> *mut libc::c_void {
        // SAFETY: `work` was cast from a function of this type.
        let work = unsafe { std::mem::transmute::<*mut libc::c_void, fn()>(work) };
        work();
        std::ptr::null_mut()
    }
    let mut thread = 0;
    // SAFETY: the argument is a function, which lives as long as the program.
    let error =
        unsafe { libc::pthread_create(&mut thread, std::ptr::null(), run, work as *mut libc::c_void) };
    assert_eq!(error, 0);
    // SAFETY: the thread was created above and is joined once.
    let error = unsafe { libc::pthread_join(thread, std::ptr::null_mut()) };
    assert_eq!(error, 0);
}

#[test]
fn a_child_keeps_the_names_and_starts_from_zero() {
    incr!("fork.int", 5);
    set!("fork.level", 7);
    set!("fork.float", 2.5);
    statvent::incr("fork.run-time", 1.5);
    record!("fork.{0}", 9.0);
    let handle = statvent::counter("fork.handle");
    handle.incr(3);
    statvent::incr("", 1);
    assert!(succeeds(child(|| {
        for (name, zero) in [
            ("fork.int", Value::Int(0)),
            ("fork.level", Value::Int(0)),
            ("fork.float", Value::Float(0.0)),
            ("fork.run-time", Value::Float(0.0)),
            ("fork.handle", Value::Int(0)),
        ] {
            assert_eq!(statvent::get(name), Some(zero), "{name}");
        }
        statvent::GLOBAL.for_each(|name, value| {
            assert!(!name.starts_with(b"fork.mean"), "samples of the parent make {value:?}");
            assert_ne!(name, b"statvent.rejected");
        });
        incr!("fork.int", 2);
        handle.incr(1);
        set!("fork.float", 0.25);
        record!("fork.{0}", 4.0);
        assert_eq!(statvent::get("fork.int"), Some(Value::Int(2)));
        assert_eq!(statvent::get("fork.handle"), Some(Value::Int(1)));
        assert_eq!(statvent::get("fork.float"), Some(Value::Float(0.25)));
        let mut mean = None;
        statvent::GLOBAL.for_each(|name, value| {
            if name == b"fork.mean" {
                mean = Some(value);
            }
        });
        assert_eq!(mean, Some(Value::Float(4.0)));
    })));
    assert_eq!(statvent::get("fork.int"), Some(Value::Int(5)));
    assert_eq!(statvent::get("fork.float"), Some(Value::Float(2.5)));
    assert_eq!(statvent::get("fork.run-time"), Some(Value::Float(1.5)));
}

#[test]
fn threads_of_a_child_count_exactly_while_threads_of_its_parent_hold_all_shards() {
    static STATS: Registry<4, 2, 64, 32> = Registry::new();
    reset_on_fork(&STATS);
    incr!(STATS, "n");
    let (ready, ended) = (Barrier::new(41), Barrier::new(41));
    thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                incr!(STATS, "n");
                incr!(STATS, "n");
                ready.wait();
                ended.wait();
            });
        }
        ready.wait();
        let child = child(|| {
            for _ in 0..200 {
                in_a_thread(|| (0..100).for_each(|_| incr!(STATS, "n")));
            }
            assert_eq!(STATS.get("n"), Some(Value::Int(20_000)));
        });
        ended.wait();
        assert!(succeeds(child));
        assert_eq!(STATS.get("n"), Some(Value::Int(81)));
    });
}

#[test]
fn forks_at_any_moment_leave_both_sides_exact() {
    static STATS: Registry<4096, 2, { 64 * 1024 }, 8> = Registry::new();
    static N_FORKS: AtomicI64 = AtomicI64::new(0);
    reset_on_fork(&STATS);
    let ended = AtomicBool::new(false);
    let n_counted = AtomicI64::new(0);
    thread::scope(|scope| {
        // The threads spend their time where a fork could do harm: registering or looking up a name, replacing a
        // value, draining samples.
        for thread_idx in 0..2 {
            let (ended, n_counted) = (&ended, &n_counted);
            scope.spawn(move || {
                STATS.incr("float", 0.5);
                for round in 0.. {
                    if ended.load(Ordering::Acquire) {
                        return;
                    }
                    if round < 10 * N_FORKS.load(Ordering::Relaxed) {
                        STATS.incr(format!("name {thread_idx} {round}"), 1);
                    }
                    assert_eq!(STATS.get("no such name"), None);
                    STATS.set("float", 2.5);
                    record!(STATS, "sample.{0}", 1);
                    incr!(STATS, "n");
                    n_counted.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        scope.spawn(|| {
            while !ended.load(Ordering::Acquire) {
                STATS.for_each(|_, _| ());
            }
        });
        let all_succeed = (0..100).all(|_| {
            N_FORKS.fetch_add(1, Ordering::Relaxed);
            succeeds(child(|| {
                STATS.for_each(|name, value| assert_eq!(value.as_f64(), 0.0, "{name:?}"));
                STATS.incr("a name of the child", 1);
                incr!(STATS, "n", 3);
                record!(STATS, "sample.{0}", 1);
                in_a_thread(|| incr!(STATS, "n", 4));
                assert_eq!(STATS.get("n"), Some(Value::Int(7)));
                STATS.for_each(|_, _| ());
            }))
        });
        ended.store(true, Ordering::Release);
        assert!(all_succeed);
    });
    assert_eq!(STATS.get("n"), Some(Value::Int(n_counted.into_inner())));
    assert_eq!(STATS.get("a name of the child"), None);
}
