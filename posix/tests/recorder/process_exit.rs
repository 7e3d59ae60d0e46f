//! Process exit: removal of the pipe and release of the lock byte.
//!
//! Each test function runs in two processes: the test itself, and the subprocess that exits. The subprocess gets the pipe
//! directory as its argument.

use crate::support::{
    DEADLINE, KillOnDrop, Stats, cat, eventually, fill_beyond_any_pipe, names, open_nonblocking, spawn_test,
    subprocess_arg, wait_for_stop, wait_readable, within,
};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use statvent_posix::pipe_name::PipeName;
use statvent_posix::{PipeDir, Recorder, liveness, start_global};
use std::path::Path;
use std::process;

static STATS: Stats = Stats::new();

/// Publishes in the subprocess and returns when the test closes its standard input.
fn publish_until_stop(dir: &Path) {
    STATS.incr("a", 1);
    start_global(&STATS, Some(dir)).unwrap();
    wait_for_stop();
}

/// Spawns a test that publishes in `dir`, and reads its pipe.
fn start(name: &str, dir: &Path) -> KillOnDrop {
    let child = spawn_test(name, dir);
    let path = dir.join(format!("{}.stats", child.0.id()));
    eventually("the pipe", || path.exists().then_some(()));
    assert_eq!(cat(&path), "a: 1\n");
    child
}

#[test]
fn the_pipe_is_removed_when_main_returns() {
    if let Some(dir) = subprocess_arg() {
        return publish_until_stop(&dir);
    }
    let temp = tempfile::tempdir().unwrap();
    start("process_exit::the_pipe_is_removed_when_main_returns", temp.path()).end();
    assert!(names(temp.path()).is_empty());
}

#[test]
fn the_pipe_is_removed_at_exit() {
    if let Some(dir) = subprocess_arg() {
        publish_until_stop(&dir);
        process::exit(0);
    }
    let temp = tempfile::tempdir().unwrap();
    start("process_exit::the_pipe_is_removed_at_exit", temp.path()).end();
    assert!(names(temp.path()).is_empty());
}

#[test]
fn exit_removes_only_its_own_pipe() {
    if let Some(dir) = subprocess_arg() {
        publish_until_stop(&dir);
        process::exit(0);
    }
    let temp = tempfile::tempdir().unwrap();
    let child = start("process_exit::exit_removes_only_its_own_pipe", temp.path());
    let path = temp.path().join(format!("{}.stats", child.0.id()));
    std::fs::write(temp.path().join("file"), "precious").unwrap();
    std::fs::rename(temp.path().join("file"), &path).unwrap();
    child.end();
    assert_eq!(std::fs::read(path).unwrap(), b"precious");
}

#[test]
fn exit_does_not_wait_for_a_hanging_reader() {
    if let Some(dir) = subprocess_arg() {
        let (large, _) = fill_beyond_any_pipe();
        let recorder =
            Recorder::builder(large).directory(&dir).write_deadline(DEADLINE * 10).start().unwrap();
        wait_for_stop();
        std::mem::forget(recorder);
        process::exit(0);
    }
    let temp = tempfile::tempdir().unwrap();
    let child = spawn_test("process_exit::exit_does_not_wait_for_a_hanging_reader", temp.path());
    let path = temp.path().join(format!("{}.stats", child.0.id()));
    let hanging = eventually("the pipe", || open_nonblocking(&path).ok());
    wait_readable(&hanging);
    // Fails long before the write deadline expires.
    child.end();
    assert!(names(temp.path()).is_empty());
}

#[test]
fn a_killed_process_frees_its_byte_and_leaves_its_pipe() {
    if let Some(dir) = subprocess_arg() {
        return publish_until_stop(&dir);
    }
    let temp = tempfile::tempdir().unwrap();
    let dir = PipeDir::open(temp.path()).unwrap();
    let mut child = start("process_exit::a_killed_process_frees_its_byte_and_leaves_its_pipe", temp.path());
    let pid = child.0.id();
    assert!(liveness::is_alive(&dir, &PipeName { label: None, pid, instance: 0 }).unwrap());
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    assert!(!liveness::is_alive(&dir, &PipeName { label: None, pid, instance: 0 }).unwrap());
    assert_eq!(names(temp.path()), [format!("{pid}.stats")]);
}

#[test]
fn the_exit_of_a_forked_child_keeps_the_parents_pipes() {
    let Some(dir) = subprocess_arg() else {
        let temp = tempfile::tempdir().unwrap();
        start("process_exit::the_exit_of_a_forked_child_keeps_the_parents_pipes", temp.path()).end();
        return assert!(names(temp.path()).is_empty());
    };
    publish_until_stop(&dir);
    let second = Recorder::builder(&STATS).directory(&dir).start().unwrap();
    let published = names(&dir);
    // SAFETY: the child calls only code under test, which takes no lock held by another thread, and exits.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            drop(second);
            process::exit(0);
        }
        ForkResult::Parent { child } => {
            let ended = within("the child to exit", move || waitpid(child, None));
            assert_eq!(ended, Ok(WaitStatus::Exited(child, 0)));
        }
    }
    assert_eq!((published.len(), names(&dir)), (2, published.clone()));
    for name in published.iter().chain(&published) {
        assert_eq!(cat(&dir.join(name)), "a: 1\n");
    }
}
