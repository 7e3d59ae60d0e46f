//! Pipes that dead processes left behind are not waited for.

use std::path::Path;
use std::time::Duration;

use nix::unistd::Uid;
use statvent_core::Registry;
use statvent_posix::Recorder;

use crate::support::{
    FREE_PID, HeldBytes, Legacy, PATIENT, Program, Server, eventually, in_less_than, make_fifo, pipe_dir,
    set_mode, unlocked_name,
};

/// How long a service of these tests waits for each process that may be alive.
const DEADLINE: Duration = Duration::from_secs(2);
/// So many requests that wait once each take a time that is far above that of as many that do not wait.
const N_REQUESTS: u32 = 10;

/// Makes the pipes `1..=n_pipes` of a pid that nobody has.
fn make_dead_pipes(dir: &Path, n_pipes: u16) {
    for n in 1..=n_pipes {
        make_fifo(&dir.join(format!("{FREE_PID}-{n}.stats")));
    }
}

#[test]
fn a_hundred_dead_pipes_are_not_waited_for() {
    let dir = pipe_dir();
    make_dead_pipes(dir.path(), 100);
    let _legacy = Legacy::start(dir.path(), &unlocked_name(1), "hits: 1\n");
    let server = Server::start(dir.path());
    for _ in 0..5 {
        let reply = in_less_than(PATIENT, "an answer beside dead pipes", || server.stats());
        assert_eq!((reply.stats_text(), reply.counts()), (r#"{"hits":1}"#, [1, 0, 100, 0, 0]));
    }
    // Nothing is removed on the strength of a moment: each could belong to another pid namespace.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 101);
}

#[test]
fn a_writer_without_a_pid_here_is_read_all_the_same() {
    let dir = pipe_dir();
    let _legacy = Legacy::start(dir.path(), &format!("{FREE_PID}.stats"), "hits: 1\n");
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
fn a_hundred_dead_pipes_that_may_not_be_removed_are_not_waited_for() {
    static OURS: Registry<64, 1, 4096> = Registry::new();
    let dir = pipe_dir();
    OURS.incr("hits", 1);
    let _ours = Recorder::builder(&OURS).directory(dir.path()).start().unwrap();
    make_dead_pipes(dir.path(), 100);
    if !Uid::effective().is_root() {
        set_mode(dir.path(), 0o555);
    }
    let was_held = HeldBytes::take(dir.path(), FREE_PID, 1..51);
    let service = Program::serve_ordinary(dir.path(), DEADLINE);
    let client = service.client();
    eventually("all but one to be late", || client.get("/stats").counts() == [1, 0, 100, 0, 0]);
    drop(was_held);
    in_less_than(N_REQUESTS * DEADLINE, "answers beside dead pipes", || {
        for _ in 0..N_REQUESTS {
            let reply = client.get("/stats");
            assert_eq!((reply.stats_text(), reply.counts()[2]), (r#"{"hits":1}"#, 50), "{}", reply.text);
        }
    });
    eventually("the pipes alone", || std::fs::read_dir(dir.path()).unwrap().count() == 101);
    set_mode(dir.path(), 0o755);
}

// 1. As many processes as are asked were known alive, and are dead. 2. Their pipes may not be removed. 3. A recorder starts:
// the dead give it a place.
#[test]
fn dead_pipes_that_may_not_be_removed_keep_no_live_process_out_however_many_they_are() {
    static OURS: Registry<64, 1, 4096> = Registry::new();
    const N_PIPES: u16 = 4096;
    let dir = pipe_dir();
    make_dead_pipes(dir.path(), N_PIPES);
    let service = Program::serve_ordinary(dir.path(), Duration::from_millis(100));
    let client = service.client();
    let was_held = HeldBytes::take(dir.path(), FREE_PID, 1..N_PIPES + 1);
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
    // From then on what it said counts, also where it is late once.
    eventually("the live process to be read", || client.get("/stats").counts() == [1, 0, 0, 0, 0]);
    for _ in 0..3 {
        assert_eq!(client.get("/stats").stats_text(), r#"{"hits":1}"#);
    }
    let n_names = usize::from(N_PIPES) + 1;
    eventually("the pipes alone", || std::fs::read_dir(dir.path()).unwrap().count() == n_names);
    set_mode(dir.path(), 0o755);
}

// 1. A recorder is killed between making the successor of its pipe and giving it the name. 2. Nobody has the successor, which
// is removed; that of one who lives is not.
#[test]
fn what_a_killed_recorder_made_aside_is_removed_and_what_a_live_one_made_is_not() {
    let dir = pipe_dir();
    let aside = dir.path().join(format!(".{FREE_PID}-1.stats.new0"));
    let file = dir.path().join(format!(".{FREE_PID}-2.stats.new0"));
    make_fifo(&aside);
    std::fs::write(&file, "precious").unwrap();
    let was_held = HeldBytes::take(dir.path(), FREE_PID, 1..2);
    let server = Server::start(dir.path());
    assert_eq!(server.stats().counts(), [0; 5]);
    assert!(aside.exists(), "its maker lives");
    drop(was_held);
    assert_eq!(server.stats().counts(), [0; 5]);
    assert!(!aside.exists());
    assert!(file.exists(), "it is no pipe");
}
