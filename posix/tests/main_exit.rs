//! Ways in which `main` ends a process: return, panic, `exit`, `abort`, SIGKILL, and `exit` after `sigwait`.
//!
//! No test harness: it runs tests in threads, never in `main`. This program runs itself again for each case.
#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use statvent_core::Registry;
use statvent_posix::pipe_name::PipeName;
use statvent_posix::{PipeDir, liveness, remove, start_global};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio, abort, exit};
use std::{env, fs};

static STATS: Registry<8, 2, 64> = Registry::new();

const END: &str = "STATVENT_TEST_END";

struct Case {
    end: &'static str,
    is_expected: fn(ExitStatus) -> bool,
    leaves_pipe: bool,
}

const CASES: [Case; 6] = [
    Case { end: "return", is_expected: |status| status.success(), leaves_pipe: false },
    Case { end: "panic", is_expected: |status| status.code() == Some(101), leaves_pipe: false },
    Case { end: "exit", is_expected: |status| status.code() == Some(3), leaves_pipe: false },
    Case { end: "sigwait", is_expected: |status| status.code() == Some(4), leaves_pipe: false },
    Case { end: "abort", is_expected: |status| status.signal() == Some(libc::SIGABRT), leaves_pipe: true },
    Case { end: "kill", is_expected: |status| status.signal() == Some(libc::SIGKILL), leaves_pipe: true },
];

fn main() {
    if let Ok(end) = env::var(END) {
        return publish_and_end(&end);
    }
    for case in CASES {
        check(&case);
        println!("test main_exit::{} ... ok", case.end);
    }
}

/// Publishes, waits for the parent process, and ends the process in the given way.
fn publish_and_end(end: &str) {
    let sigterm = SigSet::from(Signal::SIGTERM);
    if end == "sigwait" {
        sigterm.thread_block().unwrap();
    }
    STATS.incr("a", 1);
    start_global(&STATS, Some(Path::new("pipes"))).unwrap();
    match end {
        "return" => wait_for_stop(),
        "panic" => {
            wait_for_stop();
            panic!("expected by the test");
        }
        "exit" => {
            wait_for_stop();
            exit(3);
        }
        "abort" => {
            wait_for_stop();
            abort();
        }
        "kill" => {
            wait_for_stop();
            kill(Pid::this(), Signal::SIGKILL).unwrap();
        }
        _ => {
            assert_eq!(sigterm.wait(), Ok(Signal::SIGTERM));
            exit(4);
        }
    }
}

fn wait_for_stop() {
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

fn check(case: &Case) {
    let temp = tempfile::tempdir().unwrap();
    let mut process = Command::new(env::current_exe().unwrap())
        .env(END, case.end)
        .current_dir(temp.path())
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let name = PipeName { label: None, pid: process.id(), instance: 0 };
    let path = temp.path().join("pipes").join(name.to_string());
    while !path.exists() {
        assert_eq!(process.try_wait().unwrap(), None, "{}: exited before it published", case.end);
        std::thread::yield_now();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "a: 1\n");
    if case.end == "sigwait" {
        kill(Pid::from_raw(process.id() as i32), Signal::SIGTERM).unwrap();
    }
    drop(process.stdin.take());
    let status = process.wait().unwrap();
    assert!((case.is_expected)(status), "{}: {status}", case.end);
    assert_eq!(path.exists(), case.leaves_pipe, "{}", case.end);
    if case.leaves_pipe {
        let dir = PipeDir::open(path.parent().unwrap()).unwrap();
        assert!(!liveness::is_alive(&dir, &name).unwrap(), "{}: the lock byte is still held", case.end);
        let dead = File::options().read(true).custom_flags(libc::O_PATH).open(&path).unwrap();
        assert!(remove::remove_dead(&dir, path.file_name().unwrap(), dead).unwrap());
        assert!(dir.names().unwrap().is_empty());
    }
}
