//! Forks: a child publishes none of its parent's stats, and neither holds nor removes its parent's pipes.
//!
//! Each test forks in a subprocess.

use crate::support::{
    DEADLINE, SHORT_INTERVAL, Stats, cat, eventually, fill_beyond_any_pipe, in_own_process, names,
    open_nonblocking, spawn_test, subprocess_arg, wait_for_stop, wait_readable, within,
};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use statvent_posix::pipe_name::PipeName;
use statvent_posix::{PipeDir, Recorder, liveness, start_global};
use std::io::{ErrorKind, PipeReader, PipeWriter, Read, Write, pipe};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, process, thread};

static STATS: Stats = Stats::new();

/// A forked child. Dropping `_goes_on` releases it from [`Parent::meet`].
struct Forked {
    pid: Pid,
    _goes_on: PipeWriter,
    reached: PipeReader,
}

/// The child's side of the two pipes that synchronise it with its parent.
struct Parent {
    may_go_on: PipeReader,
    reached: PipeWriter,
}

impl Parent {
    /// Reports to the parent that this point is reached, and waits until the parent releases the child.
    fn meet(&mut self) {
        self.reached.write_all(b".").unwrap();
        let _ = self.may_go_on.read_to_end(&mut Vec::new());
    }
}

/// Forks a child that runs `work` and exits with 0, or with 1 if `work` panicked.
fn forked(work: impl FnOnce(Parent)) -> Forked {
    let (may_go_on, goes_on) = pipe().unwrap();
    let (reached, report) = pipe().unwrap();
    // SAFETY: the child calls code under test, which supports it, and exits without returning.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => Forked { pid: child, _goes_on: goes_on, reached },
        ForkResult::Child => {
            nix::unistd::alarm::set(DEADLINE.as_secs() as u32);
            drop(goes_on);
            let ended = catch_unwind(AssertUnwindSafe(|| work(Parent { may_go_on, reached: report })));
            // Not `std::process::exit`: it takes a lock that a starting or ending thread of the parent may have held at
            // the fork, and which no thread of the child would release.
            // SAFETY: `exit` runs the exit handlers and ends the process. No other thread of the child calls it.
            unsafe { libc::exit(i32::from(ended.is_err())) }
        }
    }
}

impl Forked {
    /// Waits until the child calls [`Parent::meet`].
    fn meet(&mut self) {
        self.reached.read_exact(&mut [0]).unwrap();
    }

    /// Releases the child and asserts that it exits with 0.
    fn end(self) {
        let pid = self.pid;
        drop(self._goes_on);
        let ended = within("the child to exit", move || waitpid(pid, None));
        assert_eq!(ended, Ok(WaitStatus::Exited(pid, 0)));
    }
}

fn pipe_of(dir: &Path, pid: impl std::fmt::Display) -> PathBuf {
    dir.join(format!("{pid}.stats"))
}

#[test]
fn a_child_may_publish_and_its_exit_keeps_the_parents_pipe() {
    if !in_own_process("forks::a_child_may_publish_and_its_exit_keeps_the_parents_pipe") {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    STATS.incr("a", 5);
    start_global(&STATS, Some(dir)).unwrap();
    let mut child = forked(|mut parent| {
        STATS.incr("a", 1);
        STATS.incr("b", 1);
        start_global(&STATS, Some(dir)).unwrap();
        parent.meet();
    });
    child.meet();
    STATS.incr("a", 2);
    assert_eq!(cat(&pipe_of(dir, child.pid)), "a: 1\nb: 1\n");
    assert_eq!(cat(&pipe_of(dir, process::id())), "a: 7\n");
    child.end();
    assert_eq!(names(dir), [format!("{}.stats", process::id())]);
    assert_eq!(cat(&pipe_of(dir, process::id())), "a: 7\n");
}

#[test]
fn a_child_without_a_recorder_removes_nothing() {
    if !in_own_process("forks::a_child_without_a_recorder_removes_nothing") {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    STATS.incr("a", 5);
    start_global(&STATS, Some(dir)).unwrap();
    let own = Recorder::builder(&STATS).directory(dir).label("own").start().unwrap();
    forked(move |_| {
        STATS.incr("a", 1);
        let _ = own.path();
        drop(own);
    })
    .end();
    let first = pipe_of(dir, process::id());
    assert_eq!(cat(&first), "a: 5\n");
    assert_eq!(
        names(dir),
        [format!("{}.stats", process::id())],
        "the closure owns the labelled recorder and dropped it"
    );
}

/// Lists the targets of this process's descriptors that are `dir`, lie in it, or are anonymous inodes.
fn open_in(dir: &str) -> Vec<String> {
    let open = fs::read_dir("/proc/self/fd").unwrap().map(|entry| fs::read_link(entry.unwrap().path()));
    // The descriptor of the listing itself is closed by now.
    let open = open.filter_map(Result::ok).map(|path| path.into_os_string().into_string().unwrap());
    open.filter(|path| path.starts_with(dir) || path.starts_with("anon_inode:")).collect()
}

/// Counts this process's write-only descriptors of files in `dir`.
fn n_write_ends(dir: &Path) -> usize {
    let open = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
    let open = open.filter(|link| fs::read_link(link).is_ok_and(|path| path.starts_with(dir)));
    let flags = open.map(|link| {
        let number = link.file_name().unwrap().to_str().unwrap().parse().unwrap();
        // SAFETY: only reads flags; a closed descriptor returns -1.
        unsafe { libc::fcntl(number, libc::F_GETFL) }
    });
    flags.filter(|flags| *flags != -1 && flags & libc::O_ACCMODE == libc::O_WRONLY).count()
}

#[test]
fn a_child_keeps_only_the_directory_descriptor_of_its_parents_recorder() {
    if !in_own_process("forks::a_child_keeps_only_the_directory_descriptor_of_its_parents_recorder") {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().to_str().unwrap();
    let recorder = Recorder::builder(&STATS).directory(temp.path()).without_health_check().start().unwrap();
    (0..5).for_each(|_| drop(cat(&recorder.path())));
    assert!(open_in(dir).len() > 5, "{:?}", open_in(dir));
    for _generation in 0..3 {
        forked(|_| assert_eq!(open_in(dir), [dir])).end();
    }
}

// Regression:
// 1. A reader arrives. The recorder's thread has opened its end of the pipe, but not yet recorded the descriptor.
// 2. The process forks.
// 3. The child kept that end, and the reader waited until the child ended.
#[test]
fn a_child_forked_as_a_reader_arrives_keeps_no_pipe_end() {
    if !in_own_process("forks::a_child_forked_as_a_reader_arrives_keeps_no_pipe_end") {
        return;
    }
    STATS.incr("a", 1);
    let temp = tempfile::tempdir().unwrap();
    // Two readers of one pipe share a stream and one may be stranded: release it soon.
    let recorder = Recorder::builder(&STATS)
        .directory(temp.path())
        .health_check_interval(SHORT_INTERVAL)
        .start()
        .unwrap();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !ended.load(Ordering::Acquire) {
                    drop(fs::read_to_string(recorder.path()));
                }
            });
        }
        let all_forks = catch_unwind(AssertUnwindSafe(|| {
            for _ in 0..1000 {
                forked(|_| assert_eq!(n_write_ends(temp.path()), 0)).end();
            }
        }));
        // Also after a failed assertion: otherwise the scope would never end.
        ended.store(true, Ordering::Release);
        all_forks.unwrap();
    });
}

#[test]
fn a_surviving_child_does_not_make_its_dead_parent_look_alive() {
    const NAME: &str = "forks::a_surviving_child_does_not_make_its_dead_parent_look_alive";
    if let Some(dir) = subprocess_arg() {
        start_global(&STATS, Some(&dir)).unwrap();
        let mut child = forked(|mut parent| parent.meet());
        child.meet();
        fs::write(dir.join("forked"), child.pid.to_string()).unwrap();
        wait_for_stop();
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let mut parent = spawn_test(NAME, temp.path());
    let child = eventually("a child", || fs::read_to_string(temp.path().join("forked")).ok()?.parse().ok());
    let child = Pid::from_raw(child);
    let name = PipeName { label: None, pid: parent.0.id(), instance: 0 };
    let dir = PipeDir::open(temp.path()).unwrap();
    nix::sys::signal::kill(child, nix::sys::signal::SIGSTOP).unwrap();
    assert!(liveness::is_alive(&dir, &name).unwrap());
    parent.0.kill().unwrap();
    parent.0.wait().unwrap();
    assert!(!liveness::is_alive(&dir, &name).unwrap(), "the child holds its parent's byte");
    nix::sys::signal::kill(child, nix::sys::signal::SIGKILL).unwrap();
}

#[test]
fn a_fork_during_a_write_does_not_delay_the_reader() {
    if !in_own_process("forks::a_fork_during_a_write_does_not_delay_the_reader") {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let (registry, text) = fill_beyond_any_pipe();
    let recorder =
        Recorder::builder(registry).directory(temp.path()).write_deadline(DEADLINE).start().unwrap();
    let reader = eventually("the pipe", || open_nonblocking(&recorder.path()).ok());
    wait_readable(&reader);
    let mut child = forked(|mut parent| parent.meet());
    child.meet();
    // The child is still alive here, and must not hold the pipe open.
    let (mut reader, mut read) = (reader, Vec::new());
    eventually("the end of the snapshot", || match reader.read_to_end(&mut read) {
        Ok(_) => Some(()),
        Err(err) if err.kind() == ErrorKind::WouldBlock => None,
        Err(err) => panic!("{err}"),
    });
    assert!(read == text.as_bytes());
    child.end();
}

#[test]
fn forks_while_recorders_start_serve_and_stop_do_not_deadlock() {
    if !in_own_process("forks::forks_while_recorders_start_serve_and_stop_do_not_deadlock") {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let (dir, other) = (temp.path().join("pipes"), temp.path().join("other"));
    let ended = AtomicBool::new(false);
    STATS.incr("a", 1);
    start_global(&STATS, Some(&dir)).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Acquire) {
                drop(Recorder::builder(&STATS).directory(&other).start().unwrap());
            }
        });
        scope.spawn(|| {
            while !ended.load(Ordering::Acquire) {
                start_global(&STATS, None).unwrap();
                assert_eq!(cat(&pipe_of(&dir, process::id())), "a: 1\n");
            }
        });
        let all_forks = catch_unwind(AssertUnwindSafe(|| {
            for _ in 0..50 {
                let mut child = forked(|mut parent| {
                    start_global(&STATS, Some(&dir)).unwrap();
                    STATS.incr("a", 3);
                    parent.meet();
                });
                child.meet();
                assert_eq!(cat(&pipe_of(&dir, child.pid)), "a: 3\n");
                child.end();
            }
        }));
        // Also after a failed assertion: otherwise the scope would never end.
        ended.store(true, Ordering::Release);
        all_forks.unwrap();
    });
    assert_eq!(names(&dir), [format!("{}.stats", process::id())]);
    assert!(names(&other).is_empty());
}
