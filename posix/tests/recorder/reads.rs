//! Reads: every reader gets a whole snapshot, with any number of readers and any behaviour of the others.

use crate::support::{
    DEADLINE, Stats, cat, drop_privileges, eventually, fill_beyond_any_pipe, in_own_process, locked_read,
    names, open_nonblocking, wait_readable, within,
};
use nix::sys::signal::{SigHandler, Signal, signal};
use statvent_posix::Recorder;
use std::fs;
use std::time::Duration;

#[test]
fn consecutive_reads_are_whole_and_counters_grow() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    let recorder = Recorder::builder(&STATS).directory(temp.path()).start().unwrap();
    STATS.set("b", 1.5);
    for read in 1..=20 {
        STATS.incr("a", 1);
        assert_eq!(cat(&recorder.path()), format!("b: 1.5\na: {read}\n"));
    }
    eventually("the last count", || (recorder.n_served() == 20).then_some(()));
    assert_eq!(recorder.n_abandoned(), 0);
    assert_eq!(names(temp.path()).len(), 1);
}

#[test]
fn an_empty_registry_reads_as_empty_text() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    let recorder = Recorder::builder(&STATS).directory(temp.path()).start().unwrap();
    assert_eq!(cat(&recorder.path()), "");
    assert_eq!(cat(&recorder.path()), "");
}

#[test]
fn readers_that_close_at_once_keep_the_recorder_alive() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    STATS.incr("a", 1);
    let recorder = Recorder::builder(&STATS).directory(temp.path()).start().unwrap();
    for _ in 0..1000 {
        drop(open_nonblocking(&recorder.path()).unwrap());
    }
    assert_eq!(locked_read(&recorder.path()), "a: 1\n");
}

#[test]
fn a_thousand_locked_reads_by_four_readers_are_all_whole() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    let mut expected = String::new();
    for i in 0..50 {
        STATS.set(format!("some.stat.{i}"), i);
        expected.push_str(&format!("some.stat.{i}: {i}\n"));
    }
    let recorder = Recorder::builder(&STATS).directory(temp.path()).start().unwrap();
    let path = recorder.path();
    let n_whole = within("a thousand reads", move || {
        let read_many = || (0..250).filter(|_| locked_read(&path) == expected).count();
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..4).map(|_| scope.spawn(read_many)).collect();
            readers.into_iter().map(|reader| reader.join().unwrap()).sum::<usize>()
        })
    });
    assert_eq!(n_whole, 1000);
    assert_eq!(names(temp.path()).len(), 1);
}

#[test]
fn a_snapshot_larger_than_any_pipe_arrives_whole() {
    if !in_own_process("reads::a_snapshot_larger_than_any_pipe_arrives_whole") {
        return;
    }
    // Root's pipes may have any size.
    drop_privileges();
    let temp = tempfile::tempdir().unwrap();
    let (large, expected) = fill_beyond_any_pipe();
    let recorder = Recorder::builder(large).directory(temp.path()).write_deadline(DEADLINE).start().unwrap();
    for _ in 0..3 {
        assert!(cat(&recorder.path()) == expected);
    }
}

#[test]
fn a_hanging_reader_is_abandoned_and_the_next_one_served() {
    if !in_own_process("reads::a_hanging_reader_is_abandoned_and_the_next_one_served") {
        return;
    }
    drop_privileges();
    let temp = tempfile::tempdir().unwrap();
    let (large, expected) = fill_beyond_any_pipe();
    let deadline = Duration::from_millis(500);
    let recorder = Recorder::builder(large).directory(temp.path()).write_deadline(deadline).start().unwrap();
    let hanging = open_nonblocking(&recorder.path()).unwrap();
    eventually("the recorder to give up", || (recorder.n_abandoned() == 1).then_some(()));
    // On a busy machine a read may miss the write deadline and be cut off. That is allowed: read again.
    eventually("a whole snapshot", || (cat(&recorder.path()) == expected).then_some(()));
    drop(hanging);
}

#[test]
fn a_reader_leaving_mid_line_keeps_a_program_with_default_sigpipe_alive() {
    if !in_own_process("reads::a_reader_leaving_mid_line_keeps_a_program_with_default_sigpipe_alive") {
        return;
    }
    drop_privileges();
    // SAFETY: installs no handler. Default is the usual state in programs that are not written in Rust.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.unwrap();
    let temp = tempfile::tempdir().unwrap();
    let (large, expected) = fill_beyond_any_pipe();
    let recorder = Recorder::builder(large).directory(temp.path()).write_deadline(DEADLINE).start().unwrap();
    for n_closed in 1..=20 {
        let leaving = open_nonblocking(&recorder.path()).unwrap();
        wait_readable(&leaving);
        drop(leaving);
        eventually("the recorder to notice", || (recorder.n_abandoned() == n_closed).then_some(()));
    }
    assert!(cat(&recorder.path()) == expected);
}

#[test]
fn modes_are_0644_and_0755_for_every_umask() {
    if !in_own_process("reads::modes_are_0644_and_0755_for_every_umask") {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    for umask in [0o077, 0o177, 0] {
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(umask));
        let dir = temp.path().join(format!("{umask:o}/pipes"));
        let recorder = Recorder::builder(&STATS).directory(&dir).start().unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        for _ in 0..2 {
            assert_eq!((mode(recorder.path()), mode(dir.clone())), (0o644, 0o755), "umask {umask:o}");
            cat(&recorder.path());
        }
    }
}
