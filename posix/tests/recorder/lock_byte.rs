//! Lock byte during outages: a recorder that cannot publish for a while keeps its proof of life.
//!
//! Without it the service would take the recorder for dead, forget its values and remove its pipe. Each test checks the
//! lock byte during one kind of outage.

use crate::support::{
    CatProcess, SHORT_INTERVAL, Stats, cat, drop_privileges, eventually, in_own_process, observe_for,
    try_read, wait_until_recorder_sleeps,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use statvent_posix::pipe_name::PipeName;
use statvent_posix::{PipeDir, Recorder, liveness};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{process, thread};

static STATS: Stats = Stats::new();

fn is_locked(dir: &PipeDir) -> bool {
    liveness::is_alive(dir, &PipeName { label: None, pid: process::id(), instance: 0 }).unwrap()
}

fn assert_stays_locked(dir: &PipeDir) {
    for _ in 0..200 {
        assert!(is_locked(dir));
        observe_for(Duration::from_millis(1));
    }
}

// Regression:
// 1. A recorder publishes.
// 2. The process runs out of descriptors.
// 3. A read uses the pipe up, and no fresh one can be created.
// 4. The lock byte was free until descriptors were available again.
#[test]
fn a_recorder_without_descriptors_is_not_taken_for_dead() {
    if !in_own_process("lock_byte::a_recorder_without_descriptors_is_not_taken_for_dead") {
        return;
    }
    STATS.incr("a", 1);
    let temp = tempfile::tempdir().unwrap();
    let dir = PipeDir::open(temp.path()).unwrap();
    let recorder = Recorder::builder(&STATS)
        .directory(temp.path())
        .health_check_interval(SHORT_INTERVAL)
        .start()
        .unwrap();
    let reader = CatProcess::spawn(&recorder.path());
    wait_until_recorder_sleeps();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 3, hard).unwrap();
    assert_eq!(reader.read(), "a: 1\n");
    assert_stays_locked(&dir);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    eventually("a whole snapshot", || (try_read(&recorder.path()) == "a: 1\n").then_some(()));
    assert!(is_locked(&dir));
    drop(recorder);
    assert!(!is_locked(&dir));
}

// Regression:
// 1. A recorder publishes.
// 2. Its user loses write permission on the directory.
// 3. After a read, no fresh pipe can be created and the old one cannot be removed.
// 4. The lock byte was free, and a service that ran as root removed the pipe.
#[test]
fn a_recorder_with_an_unwritable_directory_is_not_taken_for_dead() {
    if !in_own_process("lock_byte::a_recorder_with_an_unwritable_directory_is_not_taken_for_dead") {
        return;
    }
    drop_privileges();
    STATS.incr("a", 1);
    let temp = tempfile::tempdir().unwrap();
    let dir = PipeDir::open(temp.path()).unwrap();
    let recorder = Recorder::builder(&STATS)
        .directory(temp.path())
        .health_check_interval(SHORT_INTERVAL)
        .start()
        .unwrap();
    fs::set_permissions(temp.path(), Permissions::from_mode(0o555)).unwrap();
    assert_eq!(cat(&recorder.path()), "a: 1\n");
    assert_stays_locked(&dir);
    fs::set_permissions(temp.path(), Permissions::from_mode(0o755)).unwrap();
    eventually("a whole snapshot", || (try_read(&recorder.path()) == "a: 1\n").then_some(()));
    assert!(is_locked(&dir));
}

// Regression:
// 1. Another program removes the pipe, again and again.
// 2. The health check repairs it.
// 3. The lock byte was free for a moment during each repair.
#[test]
fn a_recorder_is_not_taken_for_dead_during_repair() {
    let temp = tempfile::tempdir().unwrap();
    let dir = PipeDir::open(temp.path()).unwrap();
    let recorder = Recorder::builder(&STATS)
        .directory(temp.path())
        .health_check_interval(SHORT_INTERVAL)
        .start()
        .unwrap();
    let is_over = AtomicBool::new(false);
    let n_free = thread::scope(|scope| {
        let checking = scope.spawn(|| {
            let mut n_free = 0;
            while !is_over.load(Ordering::Acquire) {
                n_free += u32::from(!is_locked(&dir));
            }
            n_free
        });
        for _ in 0..20 {
            fs::remove_file(recorder.path()).unwrap();
            eventually("the pipe", || recorder.path().exists().then_some(()));
        }
        is_over.store(true, Ordering::Release);
        checking.join().unwrap()
    });
    assert_eq!(n_free, 0);
}

// Regression:
// 1. A recorder stops.
// 2. Its lock byte was free for a moment before its pipe was removed.
// 3. A recorder that took the name at that moment had its own pipe renamed away.
#[test]
fn a_stopping_recorder_holds_its_byte_until_its_pipe_is_gone() {
    let temp = tempfile::tempdir().unwrap();
    let dir = PipeDir::open(temp.path()).unwrap();
    for _ in 0..200 {
        let recorder =
            Recorder::builder(&STATS).directory(temp.path()).without_health_check().start().unwrap();
        let path = recorder.path();
        thread::scope(|scope| {
            let checking = scope.spawn(|| {
                // The order matters: a pipe that exists after its byte was free existed while the byte was free.
                while path.exists() {
                    assert!(is_locked(&dir) || !path.exists(), "the lock byte is free while the pipe exists");
                }
            });
            drop(recorder);
            checking.join().unwrap();
        });
    }
}
