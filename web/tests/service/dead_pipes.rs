//! Pipes that dead processes left behind are not waited for.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::unistd::Uid;
use statvent_core::Registry;
use statvent_posix::Recorder;

use crate::support::{
    HeldBytes, Legacy, Program, Server, eventually, make_fifo, pipe_dir, set_mode, unlocked_name,
};

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

// 1. A hundred pipes were left behind in the directory of another owner, where the service may remove none: half of
// them it saw alive. 2. Those are known to be dead, the others are not waited for.
#[test]
fn a_hundred_dead_pipes_that_may_not_be_removed_cost_milliseconds() {
    static OURS: Registry<64, 1, 4096> = Registry::new();
    let dir = pipe_dir();
    OURS.incr("hits", 1);
    let _ours = Recorder::builder(&OURS).directory(dir.path()).start().unwrap();
    let pid = free_pid();
    for n in 1..=100 {
        make_fifo(&dir.path().join(format!("{pid}-{n}.stats")));
    }
    if !Uid::effective().is_root() {
        set_mode(dir.path(), 0o555);
    }
    let was_held = HeldBytes::take(dir.path(), pid, 1..51);
    let args = ["-p", "0", "--deadline", "2s", "-d", dir.path().to_str().unwrap()];
    let client = Program::start_ordinary(args);
    let (client, _service) = (client.client(), client);
    assert_eq!(client.get("/stats").counts(), [1, 0, 100, 0, 0]);
    drop(was_held);
    for request in 0..5 {
        let asked_at = Instant::now();
        let reply = client.get("/stats");
        assert_eq!((reply.stats_text(), reply.counts()), (r#"{"hits":1}"#, [1, 0, 50, 0, 0]));
        // The deadline is 2 s: what would be waited for would be seen.
        assert!(
            asked_at.elapsed() < Duration::from_millis(250),
            "request {request}: {:?}",
            asked_at.elapsed()
        );
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 101);
    set_mode(dir.path(), 0o755);
}

// 1. As many processes as are asked were known alive, and are dead. 2. Their pipes may not be removed. 3. A recorder starts:
// the dead give it a place.
#[test]
fn dead_pipes_that_may_not_be_removed_keep_no_live_process_out_however_many_they_are() {
    static OURS: Registry<64, 1, 4096> = Registry::new();
    const N_PIPES: u16 = 4096;
    let dir = pipe_dir();
    let pid = free_pid();
    for n in 1..=N_PIPES {
        make_fifo(&dir.path().join(format!("{pid}-{n}.stats")));
    }
    let args = ["-p", "0", "--deadline", "100ms", "-d", dir.path().to_str().unwrap()];
    let service = Program::start_ordinary(args);
    let client = service.client();
    let was_held = HeldBytes::take(dir.path(), pid, 1..N_PIPES + 1);
    assert_eq!(client.get("/stats").counts(), [0, 0, N_PIPES.into(), 0, 0]);
    if !Uid::effective().is_root() {
        set_mode(dir.path(), 0o555);
    }
    drop(was_held);
    assert_eq!(client.get("/stats").counts(), [0; 5]);
    set_mode(dir.path(), 0o755);
    OURS.incr("hits", 1);
    let _ours = Recorder::builder(&OURS).directory(dir.path()).start().unwrap();
    if !Uid::effective().is_root() {
        set_mode(dir.path(), 0o555);
    }
    for _ in 0..3 {
        assert_eq!(client.get("/stats").stats_text(), r#"{"hits":1}"#);
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), usize::from(N_PIPES) + 1);
    set_mode(dir.path(), 0o755);
}

// 1. A recorder is killed between making the successor of its pipe and giving it the name. 2. Nobody has the successor, which
// is removed; that of one who lives is not.
#[test]
fn what_a_killed_recorder_made_aside_is_removed_and_what_a_live_one_made_is_not() {
    let dir = pipe_dir();
    let pid = free_pid();
    let aside = dir.path().join(format!(".{pid}-1.stats.new0"));
    let file = dir.path().join(format!(".{pid}-2.stats.new0"));
    make_fifo(&aside);
    std::fs::write(&file, "precious").unwrap();
    let was_held = HeldBytes::take(dir.path(), pid, 1..2);
    let server = Server::start(dir.path());
    assert_eq!(server.stats().counts(), [0; 5]);
    assert!(aside.exists(), "its maker lives");
    drop(was_held);
    assert_eq!(server.stats().counts(), [0; 5]);
    assert!(!aside.exists());
    assert!(file.exists(), "it is no pipe");
}
