//! Liveness: only a free lock byte proves death, for stopped, busy and zombie processes and reused pids.

use std::fs::read_dir;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::scope;
use std::time::Duration;

use nix::sys::signal::Signal;
use statvent_core::Registry;
use statvent_posix::Recorder;

use crate::support::{LockBytes, Program, Server, eventually, make_fifo, observe_for, pipe_dir};

const SHORT: Duration = Duration::from_millis(200);

fn n_names(dir: &Path) -> usize {
    read_dir(dir).unwrap().count()
}

// 1. A worker is killed and its parent does not wait for it: a zombie keeps its pid.
// 2. A service that saw the lock byte held sees it free: proved dead.
// 3. A service that never saw it held has no proof, and keeps the pipe as long as one whose pid no process has.
#[test]
fn a_zombie_is_dead_if_its_lock_byte_was_seen_held() {
    let dir = pipe_dir();
    let (worker, path) = Program::start_worker(dir.path());
    let saw_it_alive = Server::start(dir.path());
    assert_eq!(saw_it_alive.stats().counts(), [1, 0, 0, 0, 0]);
    worker.signal(Signal::SIGKILL);
    eventually("the worker to be a zombie", || worker.state() == 'Z');
    let never_saw_it = Server::start_with_deadline(dir.path(), SHORT);
    assert_eq!(never_saw_it.stats().counts(), [0, 0, 1, 0, 0]);
    assert!(path.exists(), "removed without proof");
    assert_eq!(saw_it_alive.stats().counts(), [0; 5]);
    assert!(!path.exists());
}

// A pid is reused after a restart of the host, or when the kernel's pid counter wraps.
#[test]
fn a_reused_pid_keeps_no_dead_pipe() {
    let dir = pipe_dir();
    let other = Program::spawn(Command::new("sleep").arg("1000").stderr(Stdio::piped()));
    let pid = other.pid().as_raw().unsigned_abs();
    for n in 1..=2 {
        make_fifo(&dir.path().join(format!("{pid}-{n}.stats")));
    }
    let was_held = LockBytes::hold(dir.path(), pid, 1..2);
    let server = Server::start_with_deadline(dir.path(), SHORT);
    assert_eq!(server.stats().counts(), [0, 0, 2, 0, 0]);
    drop(was_held);
    for _ in 0..5 {
        assert_eq!(server.stats().counts(), [0, 0, 1, 0, 0]);
    }
    assert!(!dir.path().join(format!("{pid}-1.stats")).exists(), "its lock byte was held and is free");
    assert!(
        dir.path().join(format!("{pid}-2.stats")).exists(),
        "its lock byte was never held: it may be alive"
    );
}

#[test]
fn stopped_and_busy_processes_are_kept() {
    let dir = pipe_dir();
    let (stopped, path) = Program::start_worker(dir.path());
    stopped.stop();
    // A slow writer of another pid namespace: no process here has its pid.
    let busy = dir.path().join("2147483647.stats");
    make_fifo(&busy);
    let _writer = std::fs::File::options().read(true).write(true).open(&busy).unwrap();
    let server = Server::start_with_deadline(dir.path(), SHORT);
    for _ in 0..5 {
        assert_eq!(server.stats().counts(), [0, 0, 2, 0, 0]);
        observe_for(SHORT);
    }
    assert!(path.exists() && busy.exists());
}

#[test]
fn two_services_that_sweep_at_once_remove_only_dead_pipes() {
    let dir = pipe_dir();
    let servers = [Server::start(dir.path()), Server::start(dir.path())];
    let live: Vec<_> = (0..3).map(|_| Program::start_worker(dir.path())).collect();
    for _ in 0..4 {
        let dead: Vec<_> = (0..6).map(|_| Program::start_worker(dir.path())).collect();
        for server in &servers {
            assert_eq!(server.stats().counts(), [9, 0, 0, 0, 0]);
        }
        dead.iter().for_each(|(worker, _)| worker.signal(Signal::SIGKILL));
        for (worker, _) in dead {
            worker.wait();
        }
        scope(|scope| {
            for server in servers.iter().chain(&servers) {
                scope.spawn(|| assert_eq!(server.stats().counts(), [3, 0, 0, 0, 0]));
            }
        });
        eventually("only the pipes of live processes to be left", || n_names(dir.path()) == 3);
        assert!(live.iter().all(|(_, path)| path.exists()));
    }
}

// While two services scrape and sweep, a recorder ends and another one takes its name, a hundred times.
#[test]
fn a_recorder_that_reuses_a_name_is_never_lost() {
    static STATS: Registry<64, 1, 4096> = Registry::new();
    STATS.incr("hits", 1);
    let dir = pipe_dir();
    let servers = [Server::start(dir.path()), Server::start(dir.path())];
    let stop = AtomicBool::new(false);
    scope(|scope| {
        for server in &servers {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    assert_eq!(server.stats().status, 200);
                }
            });
        }
        for round in 0..100 {
            let recorder = Recorder::builder(&STATS).directory(dir.path()).start().unwrap();
            let reply = servers[round % 2].stats();
            let is_right = (reply.stats_text(), reply.counts()) == (r#"{"hits":1}"#, [1, 0, 0, 0, 0]);
            stop.fetch_or(!is_right || round == 99, Ordering::SeqCst);
            assert!(is_right, "round {round}: {}", reply.text);
            drop(recorder);
        }
    });
    assert_eq!(n_names(dir.path()), 0);
}
