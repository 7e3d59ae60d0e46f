//! Processes that do not answer in time: stopped ones keep their values, killed ones are gone.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::mpsc::channel;
use std::thread::spawn;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use statvent_core::Registry;
use statvent_posix::Recorder;

use crate::support::{
    DEADLINE, LONG_DEADLINE, LegacyWriter, LockBytes, Program, Server, eventually, in_less_than, make_fifo,
    pipe_dir, unlocked_name,
};

const SHORT: Duration = Duration::from_millis(300);
/// A deadline long enough to tell twenty waits from none.
const LONG: Duration = Duration::from_secs(1);

#[test]
fn a_stopped_process_keeps_its_values_and_recovers() {
    let dir = pipe_dir();
    let (worker, path) = Program::start_worker(dir.path());
    let server = Server::start_with_deadline(dir.path(), LONG);
    worker.stop();
    let reply = server.stats();
    assert_eq!((reply.stats_text(), reply.counts()), ("{}", [0, 0, 1, 0, 0]), "late: it never answered");
    worker.signal(Signal::SIGCONT);
    eventually("the process to answer", || server.stats().counts() == [1, 0, 0, 0, 0]);

    worker.stop();
    // A snapshot that was being written when it was stopped may still arrive: the values to keep are those of this answer.
    eventually("the process to be stale", || server.stats().counts() == [0, 1, 0, 0, 0]);
    let kept = server.stats();
    assert!(kept.stat("demo.requests").as_u64() > Some(0), "{}", kept.text);
    in_less_than(20 * LONG, "answers while one process stays silent", || {
        for _ in 0..20 {
            let reply = server.stats();
            assert_eq!((reply.stats_text(), reply.counts()), (kept.stats_text(), [0, 1, 0, 0, 0]));
        }
    });
    assert!(path.exists(), "the pipe of a live process was removed");

    worker.signal(Signal::SIGCONT);
    eventually("the process to be ok again", || server.stats().counts() == [1, 0, 0, 0, 0]);
    let grown = server.stats().stat("demo.requests");
    eventually("its counters to grow", || server.stats().stat("demo.requests") != grown);
}

#[test]
fn a_killed_process_is_gone_from_the_next_answer_and_its_pipe_is_removed() {
    let dir = pipe_dir();
    let (one, path) = Program::start_worker(dir.path());
    let (_two, other_path) = Program::start_worker(dir.path());
    let server = Server::start(dir.path());
    assert_eq!(server.stats().counts(), [2, 0, 0, 0, 0]);
    one.signal(Signal::SIGKILL);
    one.wait();
    let reply = in_less_than(LONG_DEADLINE, "an answer beside a dead process", || server.stats());
    assert_eq!(reply.counts(), [1, 0, 0, 0, 0]);
    assert!(!path.exists(), "{}", path.display());
    assert!(other_path.exists());
}

#[test]
fn a_stopped_process_that_is_killed_is_gone_with_its_values() {
    let dir = pipe_dir();
    let (worker, path) = Program::start_worker(dir.path());
    let server = Server::start_with_deadline(dir.path(), SHORT);
    eventually("the process to answer", || server.stats().counts() == [1, 0, 0, 0, 0]);
    worker.stop();
    eventually("the process to be stale", || server.stats().counts() == [0, 1, 0, 0, 0]);
    worker.signal(Signal::SIGKILL);
    worker.wait();
    eventually("its pipe to be removed", || {
        let reply = server.stats();
        assert_eq!((reply.stats_text(), reply.counts()), ("{}", [0; 5]));
        !path.exists()
    });
}

#[test]
fn a_process_that_reuses_a_name_with_fewer_stats_is_accepted() {
    static ONE: Registry<64, 8, 4096> = Registry::new();
    static TWO: Registry<64, 8, 4096> = Registry::new();
    for name in ["hits", "misses", "errors"] {
        ONE.incr(name, 5);
    }
    TWO.incr("hits", 1);
    let dir = pipe_dir();
    let server = Server::start_with_deadline(dir.path(), SHORT);
    let one = Recorder::builder(&ONE).directory(dir.path()).start().unwrap();
    let path = one.path();
    let all = r#"{"errors":5,"hits":5,"misses":5}"#;
    eventually("the first recorder to answer", || server.stats().stats_text() == all);
    drop(one);
    let two = Recorder::builder(&TWO).directory(dir.path()).start().unwrap();
    assert_eq!(two.path(), path);
    // Fewer stats are accepted only at the deadline, unless the process was silent before.
    eventually("the second recorder to be accepted", || {
        let reply = server.stats();
        assert!([all, r#"{"hits":1}"#].contains(&reply.stats_text()), "{}", reply.text);
        (reply.stats_text(), reply.counts()) == (r#"{"hits":1}"#, [1, 0, 0, 0, 0])
    });
}

#[test]
fn a_process_without_stats_that_was_late_once_is_ok_again() {
    static NONE: Registry<2, 1, 0> = Registry::new();
    let dir = pipe_dir();
    let path = dir.path().join(format!("{}.stats", std::process::id()));
    make_fifo(&path);
    let server = Server::start_with_deadline(dir.path(), SHORT);
    assert_eq!(server.stats().counts(), [0, 0, 1, 0, 0]);
    std::fs::remove_file(&path).unwrap();
    let _recorder = Recorder::builder(&NONE).directory(dir.path()).start().unwrap();
    eventually("the process to be ok", || server.stats().counts() == [1, 0, 0, 0, 0]);
}

#[test]
fn silent_processes_cost_only_their_own_stats() {
    let dir = pipe_dir();
    for n in 100..140 {
        make_fifo(&dir.path().join(unlocked_name(n)));
    }
    let _legacy = [1, 2].map(|n| LegacyWriter::start(dir.path(), &unlocked_name(n), "hits: 1\n"));
    let server = Server::start_with_deadline(dir.path(), LONG);
    let ask = || {
        eventually("the legacy writers to be read", || server.stats().counts() == [2, 0, 40, 0, 0]);
        assert_eq!(server.stats().stats_text(), r#"{"hits":2}"#);
    };
    in_less_than(40 * LONG, "waiting for all silent processes at once", ask);
    in_less_than(20 * LONG, "answers while forty processes stay silent", || {
        (0..20).for_each(|_| assert_eq!(server.stats().counts()[2], 40));
    });
}

#[test]
fn a_silent_process_that_wakes_up_is_read_without_losing_a_byte() {
    let dir = pipe_dir();
    let name = unlocked_name(1);
    make_fifo(&dir.path().join(&name));
    let server = Server::start_with_deadline(dir.path(), SHORT);
    assert_eq!(server.stats().counts(), [0, 0, 1, 0, 0]);
    // Opens the pipe that the service still reads, writes more than a pipe holds, and then publishes as usual.
    let lines: String = (0..20_000).map(|n| format!("stat.{n}: {n}\n")).collect();
    let (written_tx, written) = channel();
    let (path, text) = (dir.path().join(&name), lines.clone());
    spawn(move || {
        std::fs::write(&path, text).unwrap();
        std::fs::remove_file(&path).unwrap();
        written_tx.send(()).unwrap();
    });
    written.recv_timeout(DEADLINE).expect("waited for the pipe to be read between two requests");
    let _legacy = LegacyWriter::start(dir.path(), &name, lines);
    eventually("the process to be ok", || server.stats().counts() == [1, 0, 0, 0, 0]);
    assert_eq!(server.stats().json()["stats"].as_object().unwrap().len(), 20_000);
}

// 1. A process starts to write its snapshot and stops in the middle.
// 2. Much later, while a scrape waits for another process, it continues.
// 3. The snapshot is older than the scrape: it counts as stale, not as ok.
#[test]
fn an_answer_begun_long_ago_is_stale() {
    let dir = pipe_dir();
    let path = dir.path().join(unlocked_name(1));
    make_fifo(&path);
    // Long enough for the steps below to happen during one scrape.
    let server = Server::start_with_deadline(dir.path(), 3 * LONG);
    let mut old = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    old.write_all(b"hits: 1\nx").unwrap();
    assert_eq!(server.stats().counts(), [0, 0, 1, 0, 0]);
    let other = dir.path().join(unlocked_name(2));
    make_fifo(&other);
    let client = server.client();
    let asking = spawn(move || client.get("/stats"));
    eventually("the other pipe to be opened", || {
        OpenOptions::new().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&other).is_ok()
    });
    old.write_all(b": 2\n").unwrap();
    drop(old);
    let reply = asking.join().unwrap();
    assert_eq!((reply.stats_text(), reply.counts()), (r#"{"hits":1,"x":2}"#, [0, 1, 1, 0, 0]));
}

// A process whose lock byte is held writes a different part of its stats each time.
#[test]
fn a_process_that_never_sends_a_complete_snapshot_is_waited_for_once() {
    let dir = pipe_dir();
    let pid = std::process::id();
    let _locked = LockBytes::hold(dir.path(), pid, 1..2);
    let mut parts = ["a: 1\nb: 1\n"].into_iter().chain(["a: 1\n", "b: 1\n"].into_iter().cycle());
    let _unreliable =
        LegacyWriter::start_with(dir.path(), &format!("{pid}-1.stats"), move || parts.next().unwrap().into());
    let _legacy = LegacyWriter::start(dir.path(), &unlocked_name(1), "hits: 1\n");
    let server = Server::start_with_deadline(dir.path(), 2 * LONG);
    let all = r#"{"a":1,"b":1,"hits":1}"#;
    eventually("both to be read once", || server.stats().stats_text() == all);
    eventually("the unreliable one to be stale", || server.stats().counts() == [1, 1, 0, 0, 0]);
    in_less_than(10 * 2 * LONG, "answers beside the unreliable process", || {
        (0..10).for_each(|_| assert_eq!(server.stats().stats_text(), all));
    });
}
