//! Slow readers: they open a pipe and do not read, or the pipe is small.
//!
//! Root's pipes may have any size, so most tests become an ordinary user in a subprocess.

use crate::support::{
    DEADLINE, SHORT_INTERVAL, Stats, become_unshared_user, drop_privileges, eventually, fill_beyond_any_pipe,
    in_own_process, locked_read, names, open_nonblocking, wait_readable,
};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use statvent_posix::Recorder;
use std::fs;
use std::io::pipe;
use std::time::Duration;

#[test]
fn a_hanging_reader_of_a_small_snapshot_delays_no_other() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    STATS.incr("a", 1);
    let deadline = DEADLINE * 10;
    let recorder = Recorder::builder(&STATS).directory(temp.path()).write_deadline(deadline).start().unwrap();
    let hanging: Vec<_> = (0..50)
        .map(|_| {
            let hanging = open_nonblocking(&recorder.path()).unwrap();
            wait_readable(&hanging);
            assert_eq!(locked_read(&recorder.path()), "a: 1\n");
            hanging
        })
        .collect();
    // The hanging readers count as served: their whole snapshot is in the pipe.
    eventually("the last count", || (recorder.n_served() + recorder.n_abandoned() >= 100).then_some(()));
    assert_eq!((hanging.len(), recorder.n_served(), recorder.n_abandoned()), (50, 100, 0));
}

#[test]
fn a_hanging_reader_of_a_large_snapshot_delays_others_at_most_by_the_write_deadline() {
    if !in_own_process(
        "slow_readers::a_hanging_reader_of_a_large_snapshot_delays_others_at_most_by_the_write_deadline",
    ) {
        return;
    }
    drop_privileges();
    let temp = tempfile::tempdir().unwrap();
    let (large, expected) = fill_beyond_any_pipe();
    let deadline = Duration::from_millis(500);
    let recorder = Recorder::builder(large)
        .directory(temp.path())
        .write_deadline(deadline)
        .health_check_interval(SHORT_INTERVAL)
        .start()
        .unwrap();
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    let mut hanging = Vec::new();
    for n_hanging in 1..=3 {
        hanging.push(open_nonblocking(&recorder.path()).unwrap());
        wait_readable(hanging.last().unwrap());
        // On a busy machine a read may miss the write deadline: the next one may succeed.
        eventually("a whole snapshot", || (locked_read(&recorder.path()) == expected).then_some(()));
        assert!(recorder.n_abandoned() >= n_hanging);
    }
    // Only the test's own descriptor of each hanging reader is left.
    eventually("the descriptors of abandoned writes", || {
        (descriptors() == before + hanging.len()).then_some(())
    });
}

#[test]
fn a_large_snapshot_arrives_whole_through_8_kib_pipes() {
    if !in_own_process("slow_readers::a_large_snapshot_arrives_whole_through_8_kib_pipes") {
        return;
    }
    become_unshared_user();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(4096), hard).unwrap();
    // Use up the user's limit of pipe memory (pipe-user-pages-soft): with 1 MiB pipes first, then with default ones.
    let mut others: Vec<_> = (0..1000)
        .map_while(|_| {
            let ends = pipe().unwrap();
            fcntl(&ends.1, FcntlArg::F_SETPIPE_SZ(1 << 20)).is_ok().then_some(ends)
        })
        .collect();
    let is_small = |ends: &(std::io::PipeReader, std::io::PipeWriter)| {
        fcntl(&ends.1, FcntlArg::F_GETPIPE_SZ).unwrap() <= 8192
    };
    others.extend((0..1000).map(|_| pipe().unwrap()).take_while(|ends| !is_small(ends)));
    assert!(is_small(&pipe().unwrap()), "{} pipes were not enough", others.len());

    let temp = tempfile::tempdir().unwrap();
    let (large, expected) = fill_beyond_any_pipe();
    let recorder = Recorder::builder(large).directory(temp.path()).write_deadline(DEADLINE).start().unwrap();
    let reader = open_nonblocking(&recorder.path()).unwrap();
    assert!(fcntl(&reader, FcntlArg::F_GETPIPE_SZ).unwrap() <= 8192);
    drop(reader);
    for _ in 0..3 {
        assert!(locked_read(&recorder.path()) == expected);
    }
    assert_eq!(names(temp.path()).len(), 1);
}
