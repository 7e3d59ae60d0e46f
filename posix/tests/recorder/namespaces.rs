//! Pid namespaces that share a pipe directory, and file systems that are full or read-only.
//!
//! `unshare(1)` creates the namespaces: as root, or as an ordinary user if user namespaces are allowed. Otherwise the
//! tests are skipped with a message; `bin/namespaces` turns a skip into a failure.

use crate::faults::assert_idle_and_logged_once;
use crate::support::{
    KillOnDrop, OwnStderr, SHORT_INTERVAL, Stats, eventually, locked_read, names, observe_for,
    run_and_read_log, skip, spawn_test_with, subprocess_arg, try_read, wait_for_stop,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use statvent_posix::pipe_name::PipeName;
use statvent_posix::{PipeDir, Recorder, liveness, start_global};
use std::fs;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

static STATS: Stats = Stats::new();

/// Returns the command that runs a program in new namespaces; `None` where they are not permitted.
pub(crate) fn unshare_command(namespaces: &[&'static str]) -> Option<Vec<&'static str>> {
    let mut words = vec!["unshare"];
    words.extend(namespaces);
    if !Uid::effective().is_root() {
        words.push("--map-root-user");
    }
    let tried = Command::new(words[0]).args(&words[1..]).arg("true").stderr(Stdio::null()).status();
    if tried.is_ok_and(|status| status.success()) {
        return Some(words);
    }
    skip("namespaces need unshare(1), and root or user namespaces");
    None
}

/// Publishes this process's pid in the outer namespace until the parent test stops it.
fn publish_outer_pid(dir: &Path) {
    // `/proc` is still that of the outer pid namespace.
    let outer: i64 = fs::read_link("/proc/self").unwrap().to_str().unwrap().parse().unwrap();
    STATS.set("outer", outer);
    start_global(&STATS, Some(dir)).unwrap();
    wait_for_stop();
}

fn outer_pid(pipe: &Path) -> i32 {
    locked_read(pipe).trim().strip_prefix("outer: ").unwrap().parse().unwrap()
}

/// Spawns the test `name` as the second process (pid 2) of a new pid namespace, and waits for its pipe.
fn spawn_second(unshare: &[&str], name: &str, pipe: &Path) -> KillOnDrop {
    let words = [unshare, &["sh", "-c", "\"$@\"; exit $?", "sh"]].concat();
    let process = spawn_test_with(&words, name, pipe.parent().unwrap(), Stdio::inherit());
    eventually("the pipe", || pipe.exists().then_some(()));
    process
}

#[test]
fn processes_with_equal_pid_in_two_pid_namespaces_both_publish() {
    if let Some(dir) = subprocess_arg() {
        return publish_outer_pid(&dir);
    }
    let Some(unshare) = unshare_command(&["--pid", "--fork", "--kill-child"]) else { return };
    let name = "namespaces::processes_with_equal_pid_in_two_pid_namespaces_both_publish";
    let temp = tempfile::tempdir().unwrap();
    let dir = PipeDir::open(temp.path()).unwrap();
    let alive = |instance| liveness::is_alive(&dir, &PipeName { label: None, pid: 2, instance }).unwrap();
    let pipes = ["2.stats", "2-1.stats"].map(|name| temp.path().join(name));
    let first = spawn_second(&unshare, name, &pipes[0]);
    let pid_of_first = outer_pid(&pipes[0]);
    let second = spawn_second(&unshare, name, &pipes[1]);
    let pid_of_second = outer_pid(&pipes[1]);
    assert_ne!(pid_of_first, pid_of_second);
    for _ in 0..20 {
        assert_eq!(pipes.each_ref().map(|pipe| outer_pid(pipe)), [pid_of_first, pid_of_second]);
        assert!(alive(0) && alive(1));
    }

    // The killed process leaves its pipe. The other one, with the same pid, is not taken for dead.
    kill(Pid::from_raw(pid_of_first), Signal::SIGKILL).unwrap();
    first.wait();
    assert!(!alive(0) && alive(1));
    assert_eq!(outer_pid(&pipes[1]), pid_of_second);

    // A third process replaces the pipe of the dead one.
    let third = spawn_second(&unshare, name, &pipes[0]);
    let pid_of_third = eventually("the third pipe", || {
        let text = try_read(&pipes[0]);
        text.trim().strip_prefix("outer: ")?.parse::<i32>().ok()
    });
    assert!(pid_of_third != pid_of_first && alive(0));
    assert_eq!(outer_pid(&pipes[1]), pid_of_second);

    // A signal from outside and a normal exit each remove only their own pipe.
    kill(Pid::from_raw(pid_of_third), Signal::SIGTERM).unwrap();
    third.wait();
    assert_eq!(names(temp.path()), ["2-1.stats"]);
    assert_eq!(outer_pid(&pipes[1]), pid_of_second);
    second.end();
    assert!(names(temp.path()).is_empty());
}

// The kernel protects the first process of a pid namespace from signals that it does not handle. A handler of the
// recorder would turn SIGTERM into a fatal signal.
#[test]
fn the_first_process_of_a_container_survives_sigterm() {
    if let Some(dir) = subprocess_arg() {
        return publish_outer_pid(&dir);
    }
    let Some(unshare) = unshare_command(&["--pid", "--fork", "--kill-child"]) else { return };
    let temp = tempfile::tempdir().unwrap();
    let name = "namespaces::the_first_process_of_a_container_survives_sigterm";
    let process = spawn_test_with(&unshare, name, temp.path(), Stdio::inherit());
    let pipe = temp.path().join("1.stats");
    eventually("the pipe", || pipe.exists().then_some(()));
    let pid = outer_pid(&pipe);
    // The main thread blocks signals for a moment while it creates another thread. A SIGTERM in that moment goes to a thread
    // that does not block it, and kills even such a process.
    let status = format!("/proc/{pid}/status");
    eventually("the first thread to take signals", || {
        fs::read_to_string(&status).unwrap().contains("SigBlk:\t0000000000000000").then_some(())
    });
    for _ in 0..3 {
        let before = fs::metadata(&pipe).unwrap().ino();
        kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
        observe_for(Duration::from_millis(50));
        assert_eq!(fs::metadata(&pipe).unwrap().ino(), before);
        assert_eq!(outer_pid(&pipe), pid);
    }
    process.end();
    assert!(names(temp.path()).is_empty());
}

/// Runs the test `name` with a tmpfs as its pipe directory and returns what its recorders logged; `None` if skipped.
fn run_on_tmpfs(options: &str, name: &str) -> Option<Vec<String>> {
    let unshare = unshare_command(&["--mount"])?;
    let temp = tempfile::tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o {options} none '{}' && exec \"$@\"", temp.path().display());
    let words = [&unshare, &["sh", "-c", &mount, "sh"][..]].concat();
    Some(run_and_read_log(&words, name, temp.path()))
}

/// Creates files until the file system is full.
fn fill(dir: &Path) {
    let mut files = (0..100).map(|i| fs::File::create(dir.join(format!("file{i}"))));
    assert!(files.any(|file| file.is_err()));
}

#[test]
fn a_start_on_a_full_file_system_is_refused_with_advice() {
    let Some(dir) = subprocess_arg() else {
        let name = "namespaces::a_start_on_a_full_file_system_is_refused_with_advice";
        return drop(run_on_tmpfs("nr_inodes=4", name));
    };
    fill(&dir);
    let before = names(&dir);
    let err = Recorder::builder(&STATS).directory(&dir).start().unwrap_err();
    let dir_path = dir.display();
    assert_eq!(
        format!("{err:?}"),
        format!(
            "cannot create a pipe in {dir_path}: make room, use a file system that supports pipes and \
             locks, or choose another directory (STATVENT_PIPE_DIR names the default one): No space left on device \
             (os error 28)"
        )
    );
    assert_eq!(names(&dir), before);
}

#[test]
fn a_file_system_that_fills_up_breaks_no_read() {
    let Some(dir) = subprocess_arg() else {
        let log = run_on_tmpfs("nr_inodes=8", "namespaces::a_file_system_that_fills_up_breaks_no_read");
        return assert_eq!(log.unwrap_or_default(), [""; 0]);
    };
    STATS.incr("a", 1);
    let recorder = Recorder::builder(&STATS).directory(&dir).start().unwrap();
    for _ in 0..5 {
        fill(&dir);
        // There is no space for a fresh pipe until the old one has been removed.
        for _ in 0..3 {
            assert_eq!(locked_read(&recorder.path()), "a: 1\n");
        }
    }
    assert_eq!(recorder.n_abandoned(), 0);
    eventually("the pipe", || recorder.path().exists().then_some(()));
    assert_eq!(names(&dir).iter().filter(|name| name.contains(".stats")).count(), 1);
}

#[test]
fn a_file_system_that_stays_full_is_logged_once_and_recovered_from() {
    let Some(dir) = subprocess_arg() else {
        let name = "namespaces::a_file_system_that_stays_full_is_logged_once_and_recovered_from";
        return assert_logged(run_on_tmpfs("nr_inodes=8", name), 1, "No space left on device (os error 28)");
    };
    STATS.incr("a", 1);
    let stderr = OwnStderr::open();
    let recorder =
        Recorder::builder(&STATS).directory(&dir).health_check_interval(SHORT_INTERVAL).start().unwrap();
    fill(&dir);
    // An open descriptor of a removed file keeps its inode in use.
    let held = fs::File::options().read(true).custom_flags(libc::O_PATH).open(recorder.path()).unwrap();
    fs::remove_file(recorder.path()).unwrap();
    assert_idle_and_logged_once(&stderr);
    drop(held);
    eventually("a whole snapshot", || (try_read(&recorder.path()) == "a: 1\n").then_some(()));
}

/// Asserts that a recorder logged at least one outage, each in one line that ends with `cause`.
fn assert_logged(log: Option<Vec<String>>, n_outages: usize, cause: &str) {
    let Some(log) = log else { return };
    assert!((1..=n_outages).contains(&log.len()), "{log:?}");
    let is_expected =
        |line: &String| line.contains("retrying: cannot create a pipe in ") && line.ends_with(cause);
    assert!(log.iter().all(is_expected), "{log:?}");
}

#[test]
fn a_file_system_that_becomes_read_only_is_logged_once_and_recovered_from() {
    let Some(dir) = subprocess_arg() else {
        let name = "namespaces::a_file_system_that_becomes_read_only_is_logged_once_and_recovered_from";
        return assert_logged(run_on_tmpfs("size=64k", name), 3, "Read-only file system (os error 30)");
    };
    let remount = |how: &str| {
        let option = format!("remount,bind,{how}");
        // Fails with EBUSY while a pipe is being created.
        eventually("the mount", || {
            let status = Command::new("mount").args(["-o", &option]).arg(&dir).status().unwrap();
            status.success().then_some(())
        });
    };
    STATS.incr("a", 1);
    let stderr = OwnStderr::open();
    let recorder =
        Recorder::builder(&STATS).directory(&dir).health_check_interval(SHORT_INTERVAL).start().unwrap();
    for is_long in [true, false, false] {
        remount("ro");
        assert_eq!(locked_read(&recorder.path()), "a: 1\n");
        if is_long {
            assert_idle_and_logged_once(&stderr);
        }
        let refused = Recorder::builder(&STATS).directory(&dir).start().unwrap_err();
        assert!(format!("{refused:?}").ends_with("Read-only file system (os error 30)"), "{refused:?}");
        remount("rw");
        eventually("a whole snapshot", || (try_read(&recorder.path()) == "a: 1\n").then_some(()));
    }
    drop(recorder);
    assert!(names(&dir).is_empty());
}
