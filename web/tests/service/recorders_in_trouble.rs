//! Processes that live and cannot publish for a while: what they said last stays, and their pipes are left alone.

use std::path::Path;
use std::time::Duration;

use nix::unistd::Uid;

use crate::support::{Program, Server, eventually, pipe_dir, set_mode};

/// The deadline of the service, which a silent process costs once.
const DEADLINE: Duration = Duration::from_secs(1);

/// Sees one process be stale, and what it counted stay, for several answers.
fn see_it_kept(server: &Server, path: &Path, is_pipe_there: bool) {
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

// 1. A process publishes, and has no descriptors left. 2. A read takes its pipe, and it can make no other. 3. It gave up its
// proof of life, and was taken for dead.
#[test]
fn a_process_without_descriptors_keeps_its_values_and_comes_back() {
    let dir = pipe_dir();
    let (worker, path) = Program::start_worker(dir.path());
    let server = Server::start_with_deadline(dir.path(), DEADLINE);
    eventually("the process to count", || server.stats().stat("demo.requests").as_u64() > Some(0));
    worker.limit_descriptors(3);
    see_it_kept(&server, &path, false);
    worker.limit_descriptors(1024);
    eventually("the process to be ok again", || server.stats().counts() == [1, 0, 0, 0, 0]);
}

// The same, where the directory may not be written any more: the pipe of the live process was removed as well.
#[test]
fn a_process_that_may_not_write_to_its_directory_keeps_its_values_and_its_pipe() {
    if !Uid::effective().is_root() {
        return eprintln!("skipped: only root may remove pipes of others");
    }
    let dir = pipe_dir();
    set_mode(dir.path(), 0o1777);
    let worker = Program::start_ordinary_worker(dir.path());
    let path = dir.path().join(format!("{}.stats", worker.pid()));
    let server = Server::start_with_deadline(dir.path(), DEADLINE);
    eventually("the process to count", || server.stats().stat("demo.requests").as_u64() > Some(0));
    set_mode(dir.path(), 0o555);
    see_it_kept(&server, &path, true);
    set_mode(dir.path(), 0o1777);
    eventually("the process to be ok again", || server.stats().counts() == [1, 0, 0, 0, 0]);
}
