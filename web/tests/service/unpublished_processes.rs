//! Live processes that cannot publish for a while: they keep their values and their pipes.

use std::path::Path;
use std::time::Duration;

use nix::unistd::Uid;

use crate::support::{Program, Server, eventually, pipe_dir, set_mode};

/// The process deadline; a silent process is waited for once.
const DEADLINE: Duration = Duration::from_secs(1);

/// Waits until the process is stale, and checks that its values stay for twenty answers.
fn check_values_are_kept(server: &Server, path: &Path, is_pipe_there: bool) {
    eventually("the process to be stale", || {
        server.stats().counts() == [0, 1, 0, 0, 0] && path.exists() == is_pipe_there
    });
    let kept = server.stats();
    assert!(kept.stat("demo.requests").as_u64() > Some(0), "{}", kept.text);
    for _ in 0..20 {
        let reply = server.stats();
        assert_eq!((reply.stats_text(), reply.counts()), (kept.stats_text(), [0, 1, 0, 0, 0]));
    }
    assert_eq!(path.exists(), is_pipe_there);
}

// 1. A process publishes and runs out of descriptors.
// 2. A read uses up its pipe, and it cannot make another one.
// 3. Before the fix, it then released its lock byte and was counted as dead. Now it keeps the lock.
#[test]
fn a_process_without_descriptors_keeps_its_values_and_recovers() {
    let dir = pipe_dir();
    let (worker, path) = Program::start_worker(dir.path());
    let server = Server::start_with_deadline(dir.path(), DEADLINE);
    eventually("the worker to record requests", || server.stats().stat("demo.requests").as_u64() > Some(0));
    // Otherwise it could not even open its pipe for the next reader, and the pipe would stay.
    worker.wait_until_recorder_sleeps();
    worker.limit_descriptors(3);
    check_values_are_kept(&server, &path, false);
    worker.limit_descriptors(1024);
    eventually("the process to be ok again", || server.stats().counts() == [1, 0, 0, 0, 0]);
}

// As above, but the directory becomes read-only for the process. Before the fix, the pipe of the live process was removed too.
#[test]
fn a_process_that_may_not_write_to_its_directory_keeps_its_values_and_its_pipe() {
    if !Uid::effective().is_root() {
        return eprintln!("skipped: only root may remove the pipes of other users");
    }
    let dir = pipe_dir();
    set_mode(dir.path(), 0o1777);
    let worker = Program::start_unprivileged_worker(dir.path());
    let path = dir.path().join(format!("{}.stats", worker.pid()));
    let server = Server::start_with_deadline(dir.path(), DEADLINE);
    eventually("the worker to record requests", || server.stats().stat("demo.requests").as_u64() > Some(0));
    set_mode(dir.path(), 0o555);
    check_values_are_kept(&server, &path, true);
    set_mode(dir.path(), 0o1777);
    eventually("the process to be ok again", || server.stats().counts() == [1, 0, 0, 0, 0]);
}
