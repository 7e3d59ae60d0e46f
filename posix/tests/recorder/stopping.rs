//! The end of a recorder by its handle: at once, whatever its readers do, and without a trace.

use crate::support::{
    DEADLINE, Stats, alone, become_ordinary, cat, eventually, fill_beyond_any_pipe, names, open_nonblocking,
    wait_readable, within,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use statvent_posix::Recorder;
use std::fs;

#[test]
fn a_dropped_recorder_leaves_nothing_behind() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    let recorder = Recorder::builder(&STATS).directory(temp.path()).start().unwrap();
    cat(&recorder.path());
    within("the recorder to stop", move || drop(recorder));
    assert!(names(temp.path()).is_empty());
}

#[test]
fn five_hundred_recorders_stop_with_threads_and_descriptors() {
    if !alone("stopping::five_hundred_recorders_stop_with_threads_and_descriptors") {
        return;
    }
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    let count = |what: &str| fs::read_dir(format!("/proc/self/{what}")).unwrap().count();
    let before = (count("task"), count("fd"));
    for _ in 0..500 {
        drop(Recorder::builder(&STATS).directory(temp.path()).start().unwrap());
    }
    // A thread that was joined is listed for a moment more.
    eventually("as many threads and descriptors as before", || {
        ((count("task"), count("fd")) == before).then_some(())
    });
    assert!(names(temp.path()).is_empty());
}

#[test]
fn a_write_to_a_reader_that_hangs_does_not_delay_the_stop() {
    if !alone("stopping::a_write_to_a_reader_that_hangs_does_not_delay_the_stop") {
        return;
    }
    become_ordinary();
    let temp = tempfile::tempdir().unwrap();
    let (large, _) = fill_beyond_any_pipe();
    let recorder =
        Recorder::builder(large).directory(temp.path()).write_deadline(DEADLINE * 10).start().unwrap();
    let hanging = open_nonblocking(&recorder.path()).unwrap();
    wait_readable(&hanging);
    // Long before the write deadline, or the test fails.
    within("the recorder to stop", move || drop(recorder));
    assert!(names(temp.path()).is_empty());
}

#[test]
fn a_process_without_descriptors_still_stops() {
    if !alone("stopping::a_process_without_descriptors_still_stops") {
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
fn a_recorder_belongs_to_no_thread() {
    fn is_shareable<T: Send + Sync + 'static>() {}
    is_shareable::<Recorder>();
}
