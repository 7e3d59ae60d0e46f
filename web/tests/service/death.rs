//! Who is dead, proved by the byte lock alone: stopped, busy, zombie, and pids that others have by now.

use std::fs::read_dir;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::scope;
use std::time::Duration;

use nix::sys::signal::Signal;
use statvent_core::Registry;
use statvent_posix::Recorder;

use crate::support::{HeldBytes, Program, Server, eventually, make_fifo, observe_for, pipe_dir};

const SHORT: Duration = Duration::from_millis(200);

fn n_names(dir: &Path) -> usize {
    read_dir(dir).unwrap().count()
}

// 1. A worker is killed, and its parent does not wait for it, so that its pid is still in use. 2. A service that knew it
// sees that its byte is free. 3. One that never knew it has no proof, and leaves the pipe
// alone for as long as that of any pid that nobody has.
#[test]
fn a_zombie_is_dead_for_those_who_knew_it_alive() {
    let dir = pipe_dir();
    let (worker, path) = Program::start_worker(dir.path());
    let knows_it = Server::start(dir.path());
    assert_eq!(knows_it.stats().counts(), [1, 0, 0, 0, 0]);
    worker.signal(Signal::SIGKILL);
    eventually("the worker to be a zombie", || worker.state() == 'Z');
    let never_knew_it = Server::start_with_deadline(dir.path(), SHORT);
    assert_eq!(never_knew_it.stats().counts(), [0, 0, 1, 0, 0]);
    assert!(path.exists(), "removed without a proof");
    assert_eq!(knows_it.stats().counts(), [0; 5]);
    assert!(!path.exists());
}

// As after a restart of the host, or after as many processes as there are pids.
#[test]
fn a_pid_that_another_process_has_by_now_keeps_no_dead_pipe() {
    let dir = pipe_dir();
    let other = Program::spawn(Command::new("sleep").arg("1000").stderr(Stdio::piped()));
    let pid = other.pid().as_raw().unsigned_abs();
    for n in 1..=2 {
        make_fifo(&dir.path().join(format!("{pid}-{n}.stats")));
    }
    let was_held = HeldBytes::take(dir.path(), pid, 1..2);
    let server = Server::start_with_deadline(dir.path(), SHORT);
    assert_eq!(server.stats().counts(), [0, 0, 2, 0, 0]);
    drop(was_held);
    for _ in 0..5 {
        assert_eq!(server.stats().counts(), [0, 0, 1, 0, 0]);
    }
    assert!(!dir.path().join(format!("{pid}-1.stats")).exists(), "its byte was held and is free");
    assert!(
        dir.path().join(format!("{pid}-2.stats")).exists(),
        "of a program that holds no byte, and may live"
    );
}

#[test]
fn stopped_and_busy_processes_are_kept() {
    let dir = pipe_dir();
    let (stopped, path) = Program::start_worker(dir.path());
    stopped.stop();
    // One that is late with what it says, in another pid namespace: nobody here has its pid.
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
fn two_services_that_remove_the_same_pipes_at_once_harm_nothing() {
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
            worker.end();
        }
        scope(|scope| {
            for server in servers.iter().chain(&servers) {
                scope.spawn(|| assert_eq!(server.stats().counts(), [3, 0, 0, 0, 0]));
            }
        });
        eventually("nothing but the pipes of the living", || n_names(dir.path()) == 3);
        assert!(live.iter().all(|(_, path)| path.exists()));
    }
}

// While two services judge and remove, a recorder ends and another takes its name, over and over.
#[test]
fn a_recorder_that_takes_a_dead_one_s_name_is_never_lost() {
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
