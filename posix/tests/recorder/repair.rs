//! Repair: a recorder publishes again after other programs removed or replaced its pipe or directory.
//!
//! The health check repairs without any reader; the recorder's serving thread may sleep in `open` meanwhile.

use crate::support::{
    SHORT_INTERVAL, Stats, cat, drop_privileges, eventually, in_own_process, locked_read, look_up, names,
    observe_for, remove_all, skip, try_read,
};
use statvent_posix::pipe_name::PipeName;
use statvent_posix::{PipeDir, Recorder, liveness};
use std::fs::{self, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::{env, process};

static STATS: Stats = Stats::new();

/// One kind of damage to a directory `pipes` and the pipe in it.
struct Fault {
    what: &'static str,
    inflict: fn(&Path, &Path),
    /// Makes publishing possible again; `None` if it is always possible.
    lift: Option<fn(&Path)>,
}

const FAULTS: [Fault; 9] = [
    Fault { what: "pipe removed", inflict: |_, pipe| fs::remove_file(pipe).unwrap(), lift: None },
    Fault {
        what: "pipe renamed away",
        inflict: |dir, pipe| fs::rename(pipe, dir.with_file_name("away")).unwrap(),
        lift: None,
    },
    Fault {
        what: "pipe replaced by a file",
        inflict: |dir, pipe| {
            fs::write(dir.join("file"), "precious").unwrap();
            fs::rename(dir.join("file"), pipe).unwrap();
        },
        lift: None,
    },
    Fault {
        what: "pipe replaced by a link to a file",
        inflict: |dir, pipe| {
            fs::write(dir.join("file"), "precious").unwrap();
            symlink("file", dir.join("link")).unwrap();
            fs::rename(dir.join("link"), pipe).unwrap();
        },
        lift: None,
    },
    Fault { what: "directory removed", inflict: |dir, _| remove_all(dir), lift: None },
    Fault {
        what: "directory renamed",
        inflict: |dir, _| fs::rename(dir, dir.with_file_name("away")).unwrap(),
        lift: None,
    },
    Fault {
        what: "directory replaced by a file",
        inflict: |dir, _| replace(dir, |dir| fs::write(dir, "precious").is_ok()),
        lift: Some(|dir| fs::remove_file(dir).unwrap()),
    },
    Fault {
        what: "directory replaced by a link",
        inflict: |dir, _| replace(dir, |dir| symlink(dir.with_file_name("away0"), dir).is_ok()),
        lift: Some(|dir| fs::remove_file(dir).unwrap()),
    },
    Fault {
        what: "directory made unwritable",
        inflict: |dir, pipe| {
            fs::set_permissions(dir, Permissions::from_mode(0o555)).unwrap();
            // The fault appears at the next read: this reader is served, but no fresh pipe can be created.
            assert_eq!(cat(pipe), "a: 1\n");
        },
        lift: Some(|dir| fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap()),
    },
];

/// Puts something in the place of a directory. Tries again if the recorder has created the directory again in between.
fn replace(dir: &Path, put: fn(&Path) -> bool) {
    let mut aways = (0..).map(|i| dir.with_file_name(format!("away{i}")));
    eventually("the directory to be replaced", || {
        fs::rename(dir, aways.next()?).ok()?;
        put(dir).then_some(())
    });
}

/// Inflicts a fault on a running recorder and asserts that it publishes again once that is possible.
fn assert_recovers(fault: &Fault) {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("pipes");
    let recorder =
        Recorder::builder(&STATS).directory(&dir).health_check_interval(SHORT_INTERVAL).start().unwrap();
    assert_eq!(locked_read(&recorder.path()), "a: 1\n");
    (fault.inflict)(&dir, &recorder.path());
    if let Some(lift) = fault.lift {
        // Long enough for several failed attempts.
        observe_for(SHORT_INTERVAL * 3);
        lift(&dir);
    }
    eventually(fault.what, || (try_read(&recorder.path()) == "a: 1\n").then_some(()));

    let opened = PipeDir::open(&dir).unwrap();
    let name = recorder.path().file_name().unwrap().to_owned();
    let name = PipeName::parse(std::os::unix::ffi::OsStrExt::as_bytes(name.as_os_str())).unwrap();
    assert_eq!(name.pid, process::id());
    assert!(liveness::is_alive(&opened, &name).unwrap(), "{}", fault.what);
    drop(recorder);
    let left = names(&dir);
    let is_precious = |path: &Path| path.is_file() && fs::read(path).unwrap() == b"precious";
    let kept = left.iter().filter(|name| is_precious(&dir.join(name))).count();
    assert_eq!(kept, left.len(), "{}: {left:?}", fault.what);
}

#[test]
fn removed_or_replaced_pipes_and_directories_are_repaired() {
    if !in_own_process("repair::removed_or_replaced_pipes_and_directories_are_repaired") {
        return;
    }
    drop_privileges();
    STATS.incr("a", 1);
    FAULTS.iter().for_each(assert_recovers);
}

#[test]
fn a_removed_directory_of_root_is_not_created_by_another_user() {
    if !in_own_process("repair::a_removed_directory_of_root_is_not_created_by_another_user") {
        return;
    }
    if !nix::unistd::Uid::effective().is_root() {
        return skip("only root may set up a directory for several users");
    }
    STATS.incr("a", 1);
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("pipes");
    fs::create_dir(&dir).unwrap();
    for path in [temp.path(), &dir] {
        fs::set_permissions(path, Permissions::from_mode(0o1777)).unwrap();
    }
    // Starts as an ordinary user: the recorder checks at its start whether it may create this directory again.
    nix::unistd::seteuid(65_534.into()).unwrap();
    let recorder =
        Recorder::builder(&STATS).directory(&dir).health_check_interval(SHORT_INTERVAL).start().unwrap();
    nix::unistd::seteuid(0.into()).unwrap();
    let away = temp.path().join("away");
    fs::rename(&dir, &away).unwrap();
    observe_for(SHORT_INTERVAL * 3);
    assert!(!dir.exists());
    fs::rename(&away, &dir).unwrap();
    eventually("a whole snapshot", || (try_read(&recorder.path()) == "a: 1\n").then_some(()));
}

// Regression:
// 1. Root sets up a directory for several users and publishes there itself.
// 2. The directory is removed.
// 3. Root's recorder created it with mode 0755, which locked out all other users.
#[test]
fn a_removed_shared_directory_is_not_created_by_its_owner() {
    if !in_own_process("repair::a_removed_shared_directory_is_not_created_by_its_owner") {
        return;
    }
    STATS.incr("a", 1);
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("pipes");
    let set_up = || {
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, Permissions::from_mode(0o1777)).unwrap();
    };
    set_up();
    let recorder =
        Recorder::builder(&STATS).directory(&dir).health_check_interval(SHORT_INTERVAL).start().unwrap();
    remove_all(&dir);
    observe_for(SHORT_INTERVAL * 3);
    assert!(!dir.exists());
    set_up();
    eventually("a whole snapshot", || (try_read(&recorder.path()) == "a: 1\n").then_some(()));
}

#[test]
fn a_deleted_pipe_is_published_again() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    STATS.incr("a", 1);
    let recorder = Recorder::builder(&STATS)
        .directory(temp.path())
        .health_check_interval(SHORT_INTERVAL)
        .start()
        .unwrap();
    for _ in 0..10 {
        fs::remove_file(recorder.path()).unwrap();
        eventually("the pipe", || recorder.path().exists().then_some(()));
        assert_eq!(cat(&recorder.path()), "a: 1\n");
    }
    drop(recorder);
    assert!(names(temp.path()).is_empty());
}

#[test]
fn a_deleted_or_moved_directory_is_created_again_with_its_lock_byte() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("pipes");
    STATS.incr("a", 1);
    let recorder =
        Recorder::builder(&STATS).directory(&path).health_check_interval(SHORT_INTERVAL).start().unwrap();
    remove_all(&path);
    eventually("the pipe", || recorder.path().exists().then_some(()));
    assert_eq!(cat(&recorder.path()), "a: 1\n");
    let away = temp.path().join("away");
    fs::rename(&path, &away).unwrap();
    eventually("the pipe", || recorder.path().exists().then_some(()));
    assert_eq!(cat(&recorder.path()), "a: 1\n");
    let dir = PipeDir::open(&path).unwrap();
    assert!(liveness::is_alive(&dir, &PipeName { label: None, pid: process::id(), instance: 0 }).unwrap());
    assert!(names(&away).is_empty());
    drop(recorder);
    assert!(names(&path).is_empty());
}

#[test]
fn a_relative_directory_does_not_follow_a_later_chdir() {
    if !in_own_process("repair::a_relative_directory_does_not_follow_a_later_chdir") {
        return;
    }
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    let (here, elsewhere) = (temp.path().join("here"), temp.path().join("elsewhere"));
    fs::create_dir(&here).unwrap();
    fs::create_dir(&elsewhere).unwrap();
    env::set_current_dir(&here).unwrap();
    let recorder =
        Recorder::builder(&STATS).directory("pipes").health_check_interval(SHORT_INTERVAL).start().unwrap();
    let path = recorder.path();
    assert!(path.starts_with(&here));
    env::set_current_dir(&elsewhere).unwrap();
    fs::remove_file(&path).unwrap();
    eventually("the pipe", || recorder.path().exists().then_some(()));
    assert_eq!(recorder.path(), path);
    assert!(names(&elsewhere).is_empty());
}

#[test]
fn a_file_in_place_of_the_pipe_is_kept_and_another_name_used() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    STATS.incr("a", 1);
    let recorder = Recorder::builder(&STATS)
        .directory(temp.path())
        .health_check_interval(SHORT_INTERVAL)
        .start()
        .unwrap();
    let taken = recorder.path();
    fs::write(temp.path().join("file"), "precious").unwrap();
    fs::rename(temp.path().join("file"), &taken).unwrap();
    let another = eventually("another name", || Some(recorder.path()).filter(|path| *path != taken));
    assert_eq!(cat(&another), "a: 1\n");
    drop(recorder);
    assert_eq!(names(temp.path()), [format!("{}.stats", process::id())]);
    assert_eq!(fs::read(&taken).unwrap(), b"precious");
}

#[test]
fn a_reader_of_a_deleted_pipe_triggers_repair_without_health_check() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    STATS.incr("a", 1);
    let recorder = Recorder::builder(&STATS).directory(temp.path()).without_health_check().start().unwrap();
    let handle = look_up(&recorder.path());
    fs::remove_file(recorder.path()).unwrap();
    assert_eq!(cat(format!("/proc/self/fd/{}", handle.as_raw_fd()).as_ref()), "a: 1\n");
    assert_eq!(cat(&recorder.path()), "a: 1\n");
}
