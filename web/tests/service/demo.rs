//! The demo, end to end: it serves its workers' stats, and leaves no process, pipe or directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpgid};

use crate::support::{Client, Program, eventually};

/// A running demo, a client of it, and the path in the `cat` line that it prints.
fn start(args: &[&str]) -> (Program, Client, PathBuf) {
    let program = Program::start(["-p", "0", "--deadline", "30s"].iter().chain(args));
    let client = program.client();
    let curl = program.line("the curl line");
    assert_eq!(curl, format!("try:  curl http://{}/stats", client.address()));
    let cat = program.line("the cat line");
    let path = cat.strip_prefix("      cat ").unwrap_or_else(|| panic!("{cat}")).into();
    (program, client, path)
}

fn pids(pipe_dir: &Path) -> Vec<Pid> {
    let names = fs::read_dir(pipe_dir).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    // During a swap a pipe has a hidden staging name.
    let names = names.filter(|name| !name.starts_with('.'));
    names.map(|name| Pid::from_raw(name.strip_suffix(".stats").unwrap().parse().unwrap())).collect()
}

/// Returns whether a process runs; a zombie does not.
fn is_running(pid: Pid) -> bool {
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
    // A reader that does not lock may open the pipe during a swap, and read nothing.
    eventually("the pipe to be read by hand", || {
        fs::read_to_string(&pipe_path).unwrap().contains("demo.requests: ")
    });

    let pipe_dir = pipe_path.parent().unwrap();
    let workers = pids(pipe_dir);
    assert_eq!(workers.len(), 3);
    program.signal(Signal::SIGTERM);
    assert_eq!(program.wait().code(), Some(0));
    assert!(!pipe_dir.exists(), "{} is left", pipe_dir.display());
    assert!(workers.iter().all(|pid| !is_running(*pid)));
}

#[test]
fn the_processes_end_when_their_parent_is_killed() {
    let dir = crate::support::pipe_dir();
    let (program, client, _) = start(&["--demo=2", "-d", dir.path().to_str().unwrap()]);
    assert_eq!(client.get("/stats").counts(), [2, 0, 0, 0, 0]);
    let workers = pids(dir.path());
    assert_eq!(workers.len(), 2);
    program.signal(Signal::SIGKILL);
    program.wait();
    eventually("the workers to exit", || workers.iter().all(|pid| !is_running(*pid)));
    eventually("their pipes to be removed", || fs::read_dir(dir.path()).unwrap().count() == 0);
    assert!(dir.path().exists(), "the demo removes only its own temporary directory");
}

#[test]
fn the_temporary_directory_is_removed_when_the_parent_is_killed() {
    let (program, client, pipe_path) = start(&["--demo=3"]);
    assert_eq!(client.get("/stats").counts(), [3, 0, 0, 0, 0]);
    program.signal(Signal::SIGKILL);
    program.wait();
    let pipe_dir = pipe_path.parent().unwrap();
    eventually("the directory to be removed", || !pipe_dir.exists());
}

#[test]
fn a_terminal_signal_reaches_only_the_service_and_no_pipe_is_left() {
    let dir = crate::support::pipe_dir();
    let (program, client, _) = start(&["--demo=2", "-d", dir.path().to_str().unwrap()]);
    assert_eq!(client.get("/stats").counts(), [2, 0, 0, 0, 0]);
    for worker in pids(dir.path()) {
        assert_eq!(getpgid(Some(worker)), Ok(worker), "a demo worker leads its own process group");
    }
    program.signal(Signal::SIGINT);
    assert_eq!(program.wait().code(), Some(0));
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
