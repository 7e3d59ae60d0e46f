//! The demo, end to end: it serves what it starts, and leaves nothing behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpgid};

use crate::support::{Client, Program, eventually};

/// A running demo, its client, and the path of the pipe that it tells the user to `cat`.
fn start(args: &[&str]) -> (Program, Client, PathBuf) {
    let program = Program::start(["-p", "0", "--deadline", "30s"].iter().chain(args));
    let client = program.client();
    let curl = program.line("a curl line");
    assert_eq!(curl, format!("try:  curl http://{}/stats", client.address()));
    let cat = program.line("a cat line");
    let path = cat.strip_prefix("      cat ").unwrap_or_else(|| panic!("{cat}")).into();
    (program, client, path)
}

fn pids(pipe_dir: &Path) -> Vec<Pid> {
    let names = fs::read_dir(pipe_dir).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    // A recorder may still be about to replace its pipe, which takes a hidden name.
    let names = names.filter(|name| !name.starts_with('.'));
    names.map(|name| Pid::from_raw(name.strip_suffix(".stats").unwrap().parse().unwrap())).collect()
}

/// Whether it runs: one that ended and that nobody waited for yet does not.
fn runs(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    kill(pid, None).is_ok() && !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
}

#[test]
fn three_processes_are_served_and_can_be_read_by_hand() {
    let (program, client, pipe_path) = start(&["--demo"]);
    let reply = client.get("/stats");
    assert_eq!(reply.counts(), [3, 0, 0, 0, 0]);
    let before = reply.stat("demo.requests").as_u64().unwrap();
    for name in ["demo.errors", "demo.queue.depth"] {
        assert!(reply.stat(name).is_u64(), "{name}: {}", reply.text);
    }
    for name in ["demo.temperature_celsius", "demo.latency_seconds.median", "demo.latency_seconds.99th"] {
        assert!(reply.stat(name).is_f64(), "{name}: {}", reply.text);
    }
    eventually("requests to be counted", || {
        client.get("/stats").stat("demo.requests").as_u64() > Some(before)
    });
    // A reader that does not lock may come at a moment at which the pipe is being replaced, and find nothing.
    eventually("the pipe to be read by hand", || {
        fs::read_to_string(&pipe_path).unwrap().contains("demo.requests: ")
    });

    let pipe_dir = pipe_path.parent().unwrap();
    let workers = pids(pipe_dir);
    assert_eq!(workers.len(), 3);
    program.signal(Signal::SIGTERM);
    assert_eq!(program.end().code(), Some(0));
    assert!(!pipe_dir.exists(), "{} is left", pipe_dir.display());
    assert!(workers.iter().all(|pid| !runs(*pid)));
}

#[test]
fn the_processes_end_when_their_parent_is_killed() {
    let dir = crate::support::pipe_dir();
    let (program, client, _) = start(&["--demo=2", "-d", dir.path().to_str().unwrap()]);
    assert_eq!(client.get("/stats").counts(), [2, 0, 0, 0, 0]);
    let workers = pids(dir.path());
    assert_eq!(workers.len(), 2);
    program.signal(Signal::SIGKILL);
    program.end();
    eventually("the processes to end", || workers.iter().all(|pid| !runs(*pid)));
    eventually("their pipes to go", || fs::read_dir(dir.path()).unwrap().count() == 0);
    assert!(dir.path().exists(), "a directory that was named is not the demo's to remove");
}

#[test]
fn a_temporary_directory_goes_with_the_last_process_when_their_parent_is_killed() {
    let (program, client, pipe_path) = start(&["--demo=3"]);
    assert_eq!(client.get("/stats").counts(), [3, 0, 0, 0, 0]);
    program.signal(Signal::SIGKILL);
    program.end();
    let pipe_dir = pipe_path.parent().unwrap();
    eventually("the directory to go", || !pipe_dir.exists());
}

#[test]
fn a_signal_to_the_terminals_group_reaches_the_service_alone_and_no_pipe_is_left() {
    let dir = crate::support::pipe_dir();
    let (program, client, _) = start(&["--demo=2", "-d", dir.path().to_str().unwrap()]);
    assert_eq!(client.get("/stats").counts(), [2, 0, 0, 0, 0]);
    for worker in pids(dir.path()) {
        assert_eq!(getpgid(Some(worker)), Ok(worker), "a process of the demo leads a group of its own");
    }
    program.signal(Signal::SIGINT);
    assert_eq!(program.end().code(), Some(0));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_demo_without_a_temporary_directory_says_what_to_do() {
    let output =
        Command::new(Program::path()).args(["-p", "0", "--demo"]).env("TMPDIR", "/nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(
        message.starts_with("statvent-web: no temporary directory for the demo: No such file"),
        "{message}"
    );
    assert!(message.ends_with(": name one with --pipe-dir\n"), "{message}");
}
