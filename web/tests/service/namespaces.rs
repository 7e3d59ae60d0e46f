//! Processes of other pid namespaces: there a pid proves nothing.
//!
//! `unshare(1)` creates the namespaces: as root, or as an ordinary user if the system allows user namespaces. Otherwise the
//! test prints that it is skipped; in `bin/namespaces` that is a failure.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

use crate::support::{Program, Server, eventually, observe_for, pipe_dir};

/// 11 s: a pipe without lock, process and writer is removed after 10 s.
const LONG: Duration = Duration::from_secs(11);
const SHORT: Duration = Duration::from_millis(300);
/// The process deadline; the stopped process is waited for once.
const DEADLINE: Duration = Duration::from_secs(2);

/// A command that runs a program in a new pid namespace; `None` if the system does not allow it.
fn in_new_namespace() -> Option<Command> {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child"]);
        if !Uid::effective().is_root() {
            command.arg("--map-root-user");
        }
        command
    };
    let tried = unshare().arg("true").stderr(Stdio::null()).status();
    if tried.is_ok_and(|status| status.success()) {
        return Some(unshare());
    }
    let why = "no namespaces without being root, or without unshare(1)";
    assert!(std::env::var_os("STATVENT_TEST_ALL").is_none(), "cannot run here: {why}");
    eprintln!("skipped: {why}");
    None
}

/// Returns the child of `unshare`, by its pid in our namespace.
fn inner(program: &Program) -> Pid {
    let pid = program.pid();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    Pid::from_raw(children.split_whitespace().next().unwrap().parse().unwrap())
}

// 1. Two processes have the pid 1, each in its own namespace.
// 2. Both are summed.
// 3. One is stopped for longer than an unlocked pipe is kept: it stays, because its lock byte is held.
// 4. It continues.
// 5. The other one is killed: only its pipe is removed.
#[test]
fn processes_of_equal_pid_in_two_namespaces_are_summed_kept_while_stopped_and_removed_when_dead() {
    let Some(mut first) = in_new_namespace() else { return };
    let Some(mut second) = in_new_namespace() else { return };
    let dir = pipe_dir();
    let start = |command: &mut Command| {
        command.arg(Program::path()).args(["demo-worker", "--pipe-dir"]).arg(dir.path());
        let worker = Program::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let path = worker.line("the path of its pipe");
        (worker, dir.path().join(path))
    };
    let (stopped, stopped_path) = start(&mut first);
    let (killed, killed_path) = start(&mut second);
    let names =
        [&stopped_path, &killed_path].map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
    assert_eq!(names, ["1.stats", "1-1.stats"]);
    let server = Server::start_with_deadline(dir.path(), DEADLINE);
    eventually("both to be summed", || server.stats().counts() == [2, 0, 0, 0, 0]);

    kill(inner(&stopped), Signal::SIGSTOP).unwrap();
    eventually("one of them to be stale", || server.stats().counts() == [1, 1, 0, 0, 0]);
    for _ in 0..LONG.div_duration_f64(SHORT).ceil() as u32 {
        let reply = server.stats();
        let [ok, stale, ..] = reply.counts();
        assert!(ok + stale == 2 && stale > 0, "{}", reply.text);
        observe_for(SHORT);
    }
    assert!(stopped_path.exists() && killed_path.exists());

    kill(inner(&stopped), Signal::SIGCONT).unwrap();
    eventually("both to be ok", || server.stats().counts() == [2, 0, 0, 0, 0]);
    kill(inner(&killed), Signal::SIGKILL).unwrap();
    killed.wait();
    eventually("one to be gone", || server.stats().counts() == [1, 0, 0, 0, 0]);
    assert!(stopped_path.exists() && !killed_path.exists());
}
