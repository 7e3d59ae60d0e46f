//! SIGTERM and SIGINT: a fatal signal removes the pipes; a program that handles the signal itself is not disturbed.
//!
//! Each test function runs in two processes: the test itself, and the subprocess that gets the signal. The subprocess gets
//! the pipe directory as its argument.

use crate::support::{
    KillOnDrop, Stats, cat, drop_privileges, eventually, locked_read, names, observe_for, open_nonblocking,
    spawn_test, spawn_test_with, start_publisher, subprocess_arg, wait_for_stop, within,
};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, pause};
use signal_hook::consts::{SIGINT, SIGTERM};
use statvent_posix::{Recorder, start_global};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

static STATS: Stats = Stats::new();

/// Set by the program's own signal handlers.
static HANDLED: AtomicBool = AtomicBool::new(false);

fn publish(dir: &Path) {
    STATS.incr("a", 1);
    start_global(&STATS, Some(dir)).unwrap();
}

fn send(process: &KillOnDrop, signal: Signal) {
    kill(Pid::from_raw(process.pid() as i32), signal).unwrap();
}

/// In the subprocess: publishes `ready`, waits for the signal, publishes `handled`, and waits for the stop.
fn wait_for_signal_and_stop(is_handled: impl Fn() -> bool) {
    STATS.incr("ready", 1);
    eventually("the signal", || is_handled().then_some(()));
    STATS.incr("handled", 1);
    wait_for_stop();
}

/// Asserts that a process survives a SIGTERM that it handles, and removes its pipe at its own exit.
fn assert_survives_sigterm(name: &str) {
    assert_survives(Signal::SIGTERM, name);
}

fn assert_survives(signal: Signal, name: &str) {
    let temp = tempfile::tempdir().unwrap();
    let process = spawn_test(name, temp.path());
    let pipe = temp.path().join(format!("{}.stats", process.pid()));
    eventually("the program to be ready", || (locked_read(&pipe) == "a: 1\nready: 1\n").then_some(()));
    send(&process, signal);
    eventually("the handler to run", || locked_read(&pipe).ends_with("handled: 1\n").then_some(()));
    process.end();
    assert!(names(temp.path()).is_empty());
}

// Regression:
// 1. A reader comes while the directory is unwritable: the pipe can be neither replaced nor removed.
// 2. The directory becomes writable.
// 3. A signal ended the process before its next attempt, and the pipe stayed.
#[test]
fn an_undeletable_pipe_is_removed_at_a_signal() {
    const NAME: &str = "signals::an_undeletable_pipe_is_removed_at_a_signal";
    if let Some(dir) = subprocess_arg() {
        drop_privileges();
        publish(&dir);
        return wait_for_stop();
    }
    let temp = tempfile::tempdir().unwrap();
    let set_mode = |dir: &Path, mode| std::fs::set_permissions(dir, Permissions::from_mode(mode)).unwrap();
    set_mode(temp.path(), 0o1777);
    let dir = temp.path().join("pipes");
    let process = spawn_test(NAME, &dir);
    let pipe = dir.join(format!("{}.stats", process.pid()));
    eventually("the pipe", || pipe.exists().then_some(()));
    set_mode(&dir, 0o555);
    assert_eq!(cat(&pipe), "a: 1\n");
    // By then the back-off between attempts is long.
    observe_for(Duration::from_millis(700));
    set_mode(&dir, 0o755);
    send(&process, Signal::SIGTERM);
    assert_eq!(process.wait().signal(), Some(SIGTERM));
    assert!(names(&dir).is_empty());
}

extern "C" fn note(_: libc::c_int) {
    HANDLED.store(true, Ordering::Relaxed);
}

/// A handler with `SA_SIGINFO` that checks the sender: a call without the signal's details would fail the check.
extern "C" fn note_sender(number: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid pointer to a handler with `SA_SIGINFO`.
    let sender = unsafe { info.as_ref() }.map(|info| {
        // SAFETY: `kill` sent the signal, so the sender's pid is set.
        unsafe { info.si_pid() }
    });
    HANDLED.store(number == SIGINT && sender == Some(nix::unistd::getppid().as_raw()), Ordering::Relaxed);
}

fn handle(handler: SigHandler) {
    handle_signal(Signal::SIGTERM, handler, SaFlags::empty());
}

fn handle_signal(signal: Signal, handler: SigHandler, flags: SaFlags) {
    let action = SigAction::new(handler, flags, SigSet::empty());
    // SAFETY: the handlers only store to an atomic.
    unsafe { sigaction(signal, &action) }.unwrap();
}

#[test]
fn a_fatal_signal_removes_all_pipes_of_the_process() {
    if let Some(dir) = subprocess_arg() {
        // A background job of a shell starts with SIGINT ignored.
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: installs no handler.
        unsafe { sigaction(Signal::SIGINT, &default) }.unwrap();
        publish(&dir);
        let second = Recorder::builder(&STATS).directory(&dir).start();
        let third = Recorder::builder(&STATS).directory(dir.join("own")).label("shop").start();
        wait_for_stop();
        return drop((second, third));
    }
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let temp = tempfile::tempdir().unwrap();
        let name = "signals::a_fatal_signal_removes_all_pipes_of_the_process";
        let (process, _) = start_publisher(name, temp.path());
        let own = temp.path().join("own");
        eventually("the third pipe", || own.exists().then(|| names(&own).pop()).flatten());
        assert_eq!(names(temp.path()).len(), 3);
        send(&process, signal);
        assert_eq!(process.wait().signal(), Some(signal as i32));
        assert_eq!(names(temp.path()), ["own"]);
        assert!(names(&own).is_empty());
    }
}

#[test]
fn a_fatal_signal_during_reads_leaves_no_pipe() {
    if let Some(dir) = subprocess_arg() {
        publish(&dir);
        return wait_for_stop();
    }
    let mut left = Vec::new();
    for n_reads in 1..=40 {
        let temp = tempfile::tempdir().unwrap();
        let name = "signals::a_fatal_signal_during_reads_leaves_no_pipe";
        let process = spawn_test(name, temp.path());
        let pipe = temp.path().join(format!("{}.stats", process.pid()));
        eventually("the pipe", || pipe.exists().then_some(()));
        let is_over = Arc::new(AtomicBool::new(false));
        let (reading, over) = (pipe.clone(), Arc::clone(&is_over));
        let reader = thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let _ = open_nonblocking(&reading);
            }
        });
        (0..n_reads).for_each(|_| assert_eq!(locked_read(&pipe), "a: 1\n"));
        send(&process, Signal::SIGTERM);
        assert_eq!(process.wait().signal(), Some(SIGTERM));
        is_over.store(true, Ordering::Relaxed);
        within("the reader", move || reader.join().unwrap());
        left.extend(names(temp.path()));
    }
    // The handler waits for a swap in progress, but not long: on a busy machine the swapping thread may not run in time.
    assert!(left.len() <= 2, "{left:?}");
}

#[test]
fn a_file_in_place_of_the_pipe_survives_the_signal() {
    if let Some(dir) = subprocess_arg() {
        publish(&dir);
        return wait_for_stop();
    }
    let temp = tempfile::tempdir().unwrap();
    let (process, pipe) =
        start_publisher("signals::a_file_in_place_of_the_pipe_survives_the_signal", temp.path());
    std::fs::write(temp.path().join("file"), "precious").unwrap();
    std::fs::rename(temp.path().join("file"), &pipe).unwrap();
    send(&process, Signal::SIGTERM);
    assert_eq!(process.wait().signal(), Some(SIGTERM));
    assert_eq!(std::fs::read(pipe).unwrap(), b"precious");
}

#[test]
fn an_earlier_handler_stays() {
    let Some(dir) = subprocess_arg() else {
        return assert_survives_sigterm("signals::an_earlier_handler_stays");
    };
    handle(SigHandler::Handler(note));
    publish(&dir);
    wait_for_signal_and_stop(|| HANDLED.load(Ordering::Relaxed));
}

#[test]
fn a_later_handler_takes_over() {
    let Some(dir) = subprocess_arg() else {
        return assert_survives_sigterm("signals::a_later_handler_takes_over");
    };
    publish(&dir);
    handle(SigHandler::Handler(note));
    wait_for_signal_and_stop(|| HANDLED.load(Ordering::Relaxed));
}

#[test]
fn an_earlier_siginfo_handler_of_sigint_stays() {
    let Some(dir) = subprocess_arg() else {
        let name = "signals::an_earlier_siginfo_handler_of_sigint_stays";
        return assert_survives(Signal::SIGINT, name);
    };
    handle_signal(Signal::SIGINT, SigHandler::SigAction(note_sender), SaFlags::SA_SIGINFO);
    publish(&dir);
    wait_for_signal_and_stop(|| HANDLED.load(Ordering::Relaxed));
}

#[test]
fn a_later_siginfo_handler_of_sigint_takes_over() {
    let Some(dir) = subprocess_arg() else {
        let name = "signals::a_later_siginfo_handler_of_sigint_takes_over";
        return assert_survives(Signal::SIGINT, name);
    };
    publish(&dir);
    handle_signal(Signal::SIGINT, SigHandler::SigAction(note_sender), SaFlags::SA_SIGINFO);
    wait_for_signal_and_stop(|| HANDLED.load(Ordering::Relaxed));
}

#[test]
fn an_earlier_signal_hook_handler_is_not_disturbed() {
    let Some(dir) = subprocess_arg() else {
        return assert_survives_sigterm("signals::an_earlier_signal_hook_handler_is_not_disturbed");
    };
    let handled = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGTERM, Arc::clone(&handled)).unwrap();
    publish(&dir);
    wait_for_signal_and_stop(|| handled.load(Ordering::Relaxed));
}

// signal-hook passes signals on to the previous handler, here the recorder's.
#[test]
fn a_later_signal_hook_handler_is_not_disturbed() {
    let Some(dir) = subprocess_arg() else {
        return assert_survives_sigterm("signals::a_later_signal_hook_handler_is_not_disturbed");
    };
    publish(&dir);
    let handled = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGTERM, Arc::clone(&handled)).unwrap();
    wait_for_signal_and_stop(|| handled.load(Ordering::Relaxed));
}

/// Shuts down gracefully like a server: the signal ends the main loop, then the program continues to its end.
fn shut_down_gracefully(before: impl FnOnce(), after: impl FnOnce()) {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        before();
        let mut sigterm = signal(SignalKind::terminate()).unwrap();
        after();
        STATS.incr("ready", 1);
        sigterm.recv().await.unwrap();
    });
    STATS.incr("handled", 1);
    wait_for_stop();
}

#[test]
fn tokio_with_an_earlier_handler_shuts_down_gracefully() {
    let Some(dir) = subprocess_arg() else {
        return assert_survives_sigterm("signals::tokio_with_an_earlier_handler_shuts_down_gracefully");
    };
    shut_down_gracefully(|| {}, || publish(&dir));
}

#[test]
fn tokio_with_a_later_handler_shuts_down_gracefully() {
    let Some(dir) = subprocess_arg() else {
        return assert_survives_sigterm("signals::tokio_with_a_later_handler_shuts_down_gracefully");
    };
    shut_down_gracefully(|| publish(&dir), || {});
}

#[test]
fn an_ignored_signal_stays_ignored() {
    if let Some(dir) = subprocess_arg() {
        handle(SigHandler::SigIgn);
        publish(&dir);
        return wait_for_stop();
    }
    let temp = tempfile::tempdir().unwrap();
    let (process, pipe) = start_publisher("signals::an_ignored_signal_stays_ignored", temp.path());
    for _ in 0..3 {
        send(&process, Signal::SIGTERM);
        assert_eq!(locked_read(&pipe), "a: 1\n");
    }
    process.end();
    assert!(names(temp.path()).is_empty());
}

#[test]
fn a_program_under_nohup_survives_sighup_and_cleans_up_at_sigterm() {
    if let Some(dir) = subprocess_arg() {
        publish(&dir);
        return wait_for_stop();
    }
    let temp = tempfile::tempdir().unwrap();
    let name = "signals::a_program_under_nohup_survives_sighup_and_cleans_up_at_sigterm";
    let process = spawn_test_with(&["nohup"], name, temp.path(), Stdio::null());
    let pipe = temp.path().join(format!("{}.stats", process.pid()));
    assert_eq!(locked_read(&pipe), "a: 1\n");
    send(&process, Signal::SIGHUP);
    assert_eq!(locked_read(&pipe), "a: 1\n");
    send(&process, Signal::SIGTERM);
    assert_eq!(process.wait().signal(), Some(SIGTERM));
    assert!(names(temp.path()).is_empty());
}

#[test]
fn a_recorder_without_signal_cleanup_changes_no_signal_handling() {
    if let Some(dir) = subprocess_arg() {
        STATS.incr("a", 1);
        let recorder = Recorder::builder(&STATS).directory(dir).without_signal_cleanup().start().unwrap();
        wait_for_stop();
        return drop(recorder);
    }
    let temp = tempfile::tempdir().unwrap();
    let name = "signals::a_recorder_without_signal_cleanup_changes_no_signal_handling";
    let (process, pipe) = start_publisher(name, temp.path());
    send(&process, Signal::SIGTERM);
    assert_eq!(process.wait().signal(), Some(SIGTERM));
    assert!(pipe.exists());
}

#[test]
fn a_signal_to_a_forked_child_keeps_the_parents_pipe() {
    let Some(dir) = subprocess_arg() else {
        let temp = tempfile::tempdir().unwrap();
        let name = "signals::a_signal_to_a_forked_child_keeps_the_parents_pipe";
        let process = spawn_test(name, temp.path());
        let pipe = temp.path().join(format!("{}.stats", process.pid()));
        // No read before that: it would replace the pipe that the child inherited.
        eventually("the end of the child", || temp.path().join("child_ended").exists().then_some(()));
        assert_eq!(locked_read(&pipe), "a: 1\n");
        process.end();
        return assert_eq!(names(temp.path()), ["child_ended"]);
    };
    publish(&dir);
    let pipe = dir.join(format!("{}.stats", std::process::id()));
    // SAFETY: the child only calls `pause`.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => loop {
            pause();
        },
        ForkResult::Parent { child } => {
            kill(child, Signal::SIGTERM).unwrap();
            let ended = within("the child to end", move || waitpid(child, None));
            assert_eq!(ended, Ok(WaitStatus::Signaled(child, Signal::SIGTERM, false)));
        }
    }
    assert!(pipe.exists());
    std::fs::write(dir.join("child_ended"), "").unwrap();
    wait_for_stop();
}
