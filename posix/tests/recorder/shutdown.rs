//! Shutdown by dropping the handle: immediate, leaves no pipe, thread or descriptor.

use crate::support::{
    DEADLINE, Stats, cat, drop_privileges, eventually, fill_beyond_any_pipe, in_own_process, names,
    open_nonblocking, wait_readable, within,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use statvent_posix::Recorder;
use std::fs;

#[test]
fn a_dropped_recorder_leaves_no_pipe() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    let recorder = Recorder::builder(&STATS).directory(temp.path()).start().unwrap();
    cat(&recorder.path());
    within("the recorder to stop", move || drop(recorder));
    assert!(names(temp.path()).is_empty());
}

#[test]
fn five_hundred_stopped_recorders_leak_no_thread_or_descriptor() {
    if !in_own_process("shutdown::five_hundred_stopped_recorders_leak_no_thread_or_descriptor") {
        return;
    }
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    let count = |what: &str| fs::read_dir(format!("/proc/self/{what}")).unwrap().count();
    let before = (count("task"), count("fd"));
    for _ in 0..500 {
        drop(Recorder::builder(&STATS).directory(temp.path()).start().unwrap());
    }
    // The kernel lists a joined thread for a moment longer.
    eventually("the former number of threads and descriptors", || {
        ((count("task"), count("fd")) == before).then_some(())
    });
    assert!(names(temp.path()).is_empty());
}

#[test]
fn a_write_to_a_hanging_reader_does_not_delay_shutdown() {
    if !in_own_process("shutdown::a_write_to_a_hanging_reader_does_not_delay_shutdown") {
        return;
    }
    drop_privileges();
    let temp = tempfile::tempdir().unwrap();
    let (large, _) = fill_beyond_any_pipe();
    let recorder =
        Recorder::builder(large).directory(temp.path()).write_deadline(DEADLINE * 10).start().unwrap();
    let hanging = open_nonblocking(&recorder.path()).unwrap();
    wait_readable(&hanging);
    // Fails long before the write deadline expires.
    within("the recorder to stop", move || drop(recorder));
    assert!(names(temp.path()).is_empty());
}

#[test]
fn a_recorder_without_descriptors_still_stops() {
    if !in_own_process("shutdown::a_recorder_without_descriptors_still_stops") {
        return;
    }
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    let recorder = Recorder::builder(&STATS).directory(temp.path()).start().unwrap();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 0, hard).unwrap();
    within("the recorder to stop", move || drop(recorder));
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    assert!(names(temp.path()).is_empty());
}

#[test]
fn a_recorder_is_send_and_sync() {
    fn assert_send_sync<T: Send + Sync + 'static>() {}
    assert_send_sync::<Recorder>();
}
