//! Pipes that dead processes left behind are not waited for.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Legacy, Server, eventually, make_fifo, pipe_dir, unlocked_name};

/// A pid that nobody has: that of a process that ended and was waited for.
fn free_pid() -> u32 {
    let mut child = Command::new("true").spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    pid
}

#[test]
fn a_hundred_dead_pipes_cost_milliseconds() {
    let dir = pipe_dir();
    let pid = free_pid();
    for n in 1..=100 {
        make_fifo(&dir.path().join(format!("{pid}-{n}.stats")));
    }
    let _legacy = Legacy::start(dir.path(), &unlocked_name(1), "hits: 1\n");
    let server = Server::start(dir.path());
    for request in 0..5 {
        let asked_at = Instant::now();
        let reply = server.stats();
        assert_eq!((reply.stats_text(), reply.counts()), (r#"{"hits":1}"#, [1, 0, 100, 0, 0]));
        // The budget is 5 ms; what is more is room for slow machines.
        assert!(
            asked_at.elapsed() < Duration::from_millis(250),
            "request {request}: {:?}",
            asked_at.elapsed()
        );
    }
    // Nothing is removed on the strength of a moment: each could belong to another pid namespace.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 101);
}

#[test]
fn a_writer_without_a_pid_here_is_read_all_the_same() {
    let dir = pipe_dir();
    let _legacy = Legacy::start(dir.path(), &format!("{}.stats", free_pid()), "hits: 1\n");
    let server = Server::start(dir.path());
    // Before it was heard once, it is given no more time than the dead.
    eventually("the writer to be heard", || server.stats().counts() == [1, 0, 0, 0, 0]);
    for _ in 0..50 {
        let reply = server.stats();
        assert_eq!((reply.stats_text(), reply.counts()), (r#"{"hits":1}"#, [1, 0, 0, 0, 0]));
    }
}
