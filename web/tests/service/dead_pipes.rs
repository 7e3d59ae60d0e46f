//! Pipes of dead processes: not waited for, and removed only with proof.

use std::path::Path;
use std::time::Duration;

use nix::unistd::Uid;
use statvent_core::Registry;
use statvent_posix::Recorder;

use crate::support::{
    FREE_PID, LONG_DEADLINE, LegacyWriter, LockBytes, Program, Server, eventually, in_less_than, make_fifo,
    pipe_dir, set_mode, unlocked_name,
};

/// The process deadline of a service in these tests.
const DEADLINE: Duration = Duration::from_secs(2);
/// Ten requests: if each waited once, they would take 20 s, far more than ten that do not wait.
const N_REQUESTS: u32 = 10;

/// Makes the pipes `1..=n_pipes` of a pid that no process has.
fn make_dead_pipes(dir: &Path, n_pipes: u16) {
    for n in 1..=n_pipes {
        make_fifo(&dir.join(format!("{FREE_PID}-{n}.stats")));
    }
}

#[test]
fn a_hundred_dead_pipes_are_not_waited_for() {
    let dir = pipe_dir();
    make_dead_pipes(dir.path(), 100);
    let _legacy = LegacyWriter::start(dir.path(), &unlocked_name(1), "hits: 1\n");
    let server = Server::start(dir.path());
    for _ in 0..5 {
        let reply = in_less_than(LONG_DEADLINE, "an answer beside dead pipes", || server.stats());
        assert_eq!((reply.stats_text(), reply.counts()), (r#"{"hits":1}"#, [1, 0, 100, 0, 0]));
    }
    // Nothing is removed yet: each pipe could belong to a process of another pid namespace.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 101);
}

#[test]
fn a_writer_with_a_foreign_pid_is_read() {
    let dir = pipe_dir();
    let _legacy = LegacyWriter::start(dir.path(), &format!("{FREE_PID}.stats"), "hits: 1\n");
    let server = Server::start(dir.path());
    // Until its first answer it gets only 3 ms, like a dead one: the first scrape may miss it.
    eventually("the writer to be read", || server.stats().counts() == [1, 0, 0, 0, 0]);
    for _ in 0..50 {
        let reply = server.stats();
        assert_eq!((reply.stats_text(), reply.counts()), (r#"{"hits":1}"#, [1, 0, 0, 0, 0]));
    }
}

// 1. A directory of another owner holds a hundred dead pipes, which the service may not remove.
// 2. It saw the lock bytes of half of them held: those are proved dead.
// 3. The other half is not waited for either.
#[test]
fn a_hundred_undeletable_dead_pipes_are_not_waited_for() {
    static STATS: Registry<64, 1, 4096> = Registry::new();
    let dir = pipe_dir();
    STATS.incr("hits", 1);
    let _recorder = Recorder::builder(&STATS).directory(dir.path()).start().unwrap();
    make_dead_pipes(dir.path(), 100);
    if !Uid::effective().is_root() {
        set_mode(dir.path(), 0o555);
    }
    let was_held = LockBytes::hold(dir.path(), FREE_PID, 1..51);
    let service = Program::serve_unprivileged(dir.path(), DEADLINE);
    let client = service.client();
    eventually("every dead pipe to be late", || client.get("/stats").counts() == [1, 0, 100, 0, 0]);
    drop(was_held);
    in_less_than(N_REQUESTS * DEADLINE, "answers beside dead pipes", || {
        for _ in 0..N_REQUESTS {
            let reply = client.get("/stats");
            assert_eq!((reply.stats_text(), reply.counts()[2]), (r#"{"hits":1}"#, 50), "{}", reply.text);
        }
    });
    eventually("only the pipes to be left", || std::fs::read_dir(dir.path()).unwrap().count() == 101);
    set_mode(dir.path(), 0o755);
}

// 1. 4096 processes, the limit, were seen alive and die.
// 2. Their pipes may not be removed.
// 3. A recorder starts: it is probed in the place of a dead one.
#[test]
fn any_number_of_undeletable_dead_pipes_leaves_room_for_a_live_process() {
    static STATS: Registry<64, 1, 4096> = Registry::new();
    const N_PIPES: u16 = 4096;
    let dir = pipe_dir();
    make_dead_pipes(dir.path(), N_PIPES);
    let service = Program::serve_unprivileged(dir.path(), Duration::from_millis(100));
    let client = service.client();
    let was_held = LockBytes::hold(dir.path(), FREE_PID, 1..N_PIPES + 1);
    assert_eq!(client.get("/stats").counts(), [0, 0, N_PIPES.into(), 0, 0]);
    if !Uid::effective().is_root() {
        set_mode(dir.path(), 0o555);
    }
    drop(was_held);
    assert_eq!(client.get("/stats").counts(), [0; 5]);
    set_mode(dir.path(), 0o755);
    STATS.incr("hits", 1);
    let _recorder = Recorder::builder(&STATS).directory(dir.path()).start().unwrap();
    if !Uid::effective().is_root() {
        set_mode(dir.path(), 0o555);
    }
    // From then on its values count, even if it is silent once.
    eventually("the live process to be read", || client.get("/stats").counts() == [1, 0, 0, 0, 0]);
    for _ in 0..3 {
        assert_eq!(client.get("/stats").stats_text(), r#"{"hits":1}"#);
    }
    let n_names = usize::from(N_PIPES) + 1;
    eventually("only the pipes to be left", || std::fs::read_dir(dir.path()).unwrap().count() == n_names);
    set_mode(dir.path(), 0o755);
}

// 1. A recorder creates a fresh pipe under a staging name, and is killed before it renames the pipe.
// 2. Its lock byte is free: the pipe under the staging name is removed. While the lock byte is held, the pipe stays.
#[test]
fn a_staged_pipe_is_removed_only_if_its_recorder_is_dead() {
    let dir = pipe_dir();
    let staged = dir.path().join(format!(".{FREE_PID}-1.stats.new0"));
    let file = dir.path().join(format!(".{FREE_PID}-2.stats.new0"));
    make_fifo(&staged);
    std::fs::write(&file, "precious").unwrap();
    let was_held = LockBytes::hold(dir.path(), FREE_PID, 1..2);
    let server = Server::start(dir.path());
    assert_eq!(server.stats().counts(), [0; 5]);
    assert!(staged.exists(), "its recorder lives");
    drop(was_held);
    assert_eq!(server.stats().counts(), [0; 5]);
    assert!(!staged.exists());
    assert!(file.exists(), "a regular file");
}
