//! Hostile directories: files, links, sockets, thousands of pipes, and unsafe modes.
//!
//! Answers are in time and exact, and nothing else is touched. Where a test needs an unreadable pipe, the service runs as an
//! ordinary user.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::Signal;
use nix::unistd::Uid;
use statvent_core::Registry;
use statvent_posix::Recorder;

use crate::support::{
    FREE_PID, LONG_DEADLINE, LegacyWriter, LockBytes, Program, eventually, in_less_than, make_fifo, pipe_dir,
    set_mode, unlocked_name,
};

/// The process deadline of a service in these tests.
const DEADLINE: Duration = Duration::from_secs(2);

/// Returns the metadata of a file that changes when it is read, written or replaced.
fn metadata_of(path: &Path) -> [i64; 8] {
    let stat = fs::symlink_metadata(path).unwrap();
    let ino = stat.ino().cast_signed();
    let times =
        [stat.atime(), stat.atime_nsec(), stat.mtime(), stat.mtime_nsec(), stat.ctime(), stat.ctime_nsec()];
    let [atime, atime_ns, mtime, mtime_ns, ctime, ctime_ns] = times;
    [ino, stat.mode().into(), atime, atime_ns, mtime, mtime_ns, ctime, ctime_ns]
}

#[test]
fn entries_that_are_not_pipes_are_counted_and_not_touched() {
    static STATS: Registry<64, 8, 4096> = Registry::new();
    let dir = pipe_dir();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("1.stats"), "hits: 1000\n").unwrap();
    fs::create_dir(at("2.stats")).unwrap();
    let _socket = UnixListener::bind(at("3.stats")).unwrap();
    symlink("/etc/passwd", at("4.stats")).unwrap();
    symlink("5.stats", at("5.stats")).unwrap();
    fs::write(at("notes.txt"), "hits: 1000\n").unwrap();
    make_fifo(&at("6.stats"));
    set_mode(&at("6.stats"), 0o000);
    make_fifo(&at("no writer.stats"));
    let foreign =
        ["1.stats", "2.stats", "3.stats", "4.stats", "5.stats", "6.stats", "notes.txt", "no writer.stats"];
    let before = foreign.map(|name| metadata_of(&at(name)));
    // Opening does not change the metadata: inotify reports it.
    let opened = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
    for name in ["1.stats", "2.stats", "notes.txt"] {
        opened.add_watch(&at(name), AddWatchFlags::IN_OPEN).unwrap();
    }

    STATS.incr("hits", 10);
    let _recorder = Recorder::builder(&STATS).directory(dir.path()).start().unwrap();
    let _legacy = LegacyWriter::start(dir.path(), &unlocked_name(1), "hits: 1\n");

    let service = Program::serve_unprivileged(dir.path(), DEADLINE);
    let client = service.client();

    for _ in 0..3 {
        eventually("both processes to be read", || client.get("/stats").counts() == [2, 0, 1, 1, 6]);
        assert_eq!(client.get("/stats").stats_text(), r#"{"hits":11}"#);
    }
    if Uid::effective().is_root() {
        assert_eq!(
            service
                .line_matching("the reason why the pipe is unreadable", |line| line.contains(": 6.stats: ")),
            "statvent-web: 6.stats: the pipe cannot be read: let its owner make it readable for this service's user: \
             Permission denied (os error 13)"
        );
    }
    for (name, before) in foreign.iter().zip(before) {
        assert_eq!(metadata_of(&at(name)), before, "{name} was touched");
    }
    assert_eq!(opened.read_events().err(), Some(nix::Error::EAGAIN), "a file or a directory was opened");
}

// 1. Another user creates more pipes than the limit, and writes to none.
// 2. A recorder starts after that.
#[test]
fn any_number_of_pipes_without_writers_leaves_room_for_a_live_process() {
    static STATS: Registry<64, 8, 4096> = Registry::new();
    let dir = pipe_dir();
    for n in 0..5000 {
        // The pid is in use, so there is no sign of death.
        make_fifo(&dir.path().join(format!("{}-{n}.stats", std::process::id())));
    }
    let path = dir.path().to_str().unwrap();
    let service = Program::serve(dir.path(), DEADLINE);
    let client = service.client();
    assert_eq!(client.get("/stats").counts(), [0, 0, 4096, 904, 0]);
    assert_eq!(
        service.line_matching("the report of too many pipes", |line| line.contains(path)),
        format!(
            "statvent-web: {path}: pipes left out: 904: at most 4096 are read: remove those without a writer, or give \
             some programs a directory of their own"
        )
    );
    STATS.incr("hits", 10);
    let _recorder = Recorder::builder(&STATS).directory(path).label("late").start().unwrap();
    eventually("the recorder to be read", || client.get("/stats").counts() == [1, 0, 4095, 905, 0]);
    assert_eq!(client.get("/stats").stats_text(), r#"{"hits":10}"#);
}

// 1. Another user locks the lock bytes of a thousand pipes, and writes to none.
// 2. They look like a thousand recorders that started at once and cannot answer.
#[test]
fn any_number_of_locked_pipes_without_writers_is_waited_for_once() {
    static STATS: Registry<64, 8, 4096> = Registry::new();
    let dir = pipe_dir();
    STATS.incr("hits", 10);
    let _recorder = Recorder::builder(&STATS).directory(dir.path()).start().unwrap();
    // 4 s: far longer than opening a thousand pipes takes.
    const DEADLINE: Duration = Duration::from_secs(4);
    const N_PIPES: u16 = 1000;
    let service = Program::serve(dir.path(), DEADLINE);
    let client = service.client();
    eventually("the recorder to be read", || client.get("/stats").counts() == [1, 0, 0, 0, 0]);
    for n in 0..N_PIPES {
        make_fifo(&dir.path().join(format!("{FREE_PID}-{}.stats", n + 1)));
    }
    let _locked = LockBytes::hold(dir.path(), FREE_PID, 1..N_PIPES + 1);
    let ask = || {
        let reply = client.get("/stats");
        assert_eq!((reply.stats_text(), reply.counts()[2]), (r#"{"hits":10}"#, N_PIPES.into()));
        reply.counts()[0]
    };
    eventually("the recorder to be read again", || ask() == 1);
    in_less_than(10 * DEADLINE, "answers beside silent pipes", || (0..10).for_each(|_| _ = ask()));
}

#[test]
fn an_unsafe_directory_is_reported_once_and_used_again_when_safe() {
    static STATS: Registry<64, 8, 4096> = Registry::new();
    let dir = pipe_dir();
    STATS.incr("hits", 10);
    let _recorder = Recorder::builder(&STATS).directory(dir.path()).start().unwrap();
    let path = dir.path().to_str().unwrap();
    let service = Program::serve(dir.path(), LONG_DEADLINE);
    let client = service.client();
    for _ in 0..2 {
        set_mode(dir.path(), 0o777);
        for _ in 0..3 {
            assert_eq!(client.get("/stats").status, 500);
        }
        let line = service.line("the report of the unsafe directory");
        assert!(line.starts_with(&format!("statvent-web: {path}: no stats are served: ")), "{line}");
        assert!(line.contains("chmod 1777"), "{line}");
        set_mode(dir.path(), 0o755);
        assert_eq!(client.get("/stats").stats_text(), r#"{"hits":10}"#);
    }
    service.signal(Signal::SIGTERM);
    assert_eq!(service.remaining_lines(), [""; 0]);
}
