//! Whatever is taken away from a recorder comes back at the next upkeep, while nobody reads and its thread sleeps.

use crate::support::{
    Stats, alone, become_ordinary, cat, eventually, locked_read, names, observe_for, read_whole, remove_all,
    skip,
};
use statvent_core::pipe_name::PipeName;
use statvent_posix::{PipeDir, Recorder, liveness};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process;
use std::time::Duration;

static STATS: Stats = Stats::new();

/// The shortest interval of upkeep that there is.
const OFTEN: Duration = Duration::from_millis(100);

/// What somebody does to a directory `pipes` and the pipe in it, and how it is made possible again to publish there.
struct Fault {
    what: &'static str,
    harm: fn(&Path, &Path),
    /// `None` if it is possible all the time.
    allow: Option<fn(&Path)>,
}

const FAULTS: [Fault; 9] = [
    Fault { what: "pipe removed", harm: |_, pipe| fs::remove_file(pipe).unwrap(), allow: None },
    Fault {
        what: "pipe renamed away",
        harm: |dir, pipe| fs::rename(pipe, dir.with_file_name("away")).unwrap(),
        allow: None,
    },
    Fault {
        what: "pipe replaced by a file",
        harm: |dir, pipe| {
            fs::write(dir.join("file"), "precious").unwrap();
            fs::rename(dir.join("file"), pipe).unwrap();
        },
        allow: None,
    },
    Fault {
        what: "pipe replaced by a link to a file",
        harm: |dir, pipe| {
            fs::write(dir.join("file"), "precious").unwrap();
            symlink("file", dir.join("link")).unwrap();
            fs::rename(dir.join("link"), pipe).unwrap();
        },
        allow: None,
    },
    Fault { what: "directory removed", harm: |dir, _| remove_all(dir), allow: None },
    Fault {
        what: "directory renamed",
        harm: |dir, _| fs::rename(dir, dir.with_file_name("away")).unwrap(),
        allow: None,
    },
    Fault {
        what: "directory replaced by a file",
        harm: |dir, _| replace(dir, |dir| fs::write(dir, "precious").is_ok()),
        allow: Some(|dir| fs::remove_file(dir).unwrap()),
    },
    Fault {
        what: "directory replaced by a link",
        harm: |dir, _| replace(dir, |dir| symlink(dir.with_file_name("away0"), dir).is_ok()),
        allow: Some(|dir| fs::remove_file(dir).unwrap()),
    },
    Fault {
        what: "directory made unwritable",
        harm: |dir, pipe| {
            fs::set_permissions(dir, Permissions::from_mode(0o555)).unwrap();
            // It is noticed by whoever reads: no fresh pipe can be made. That reader is served all the same.
            assert_eq!(cat(pipe), "a: 1\n");
        },
        allow: Some(|dir| fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap()),
    },
];

/// Puts something in the place of a directory; its recorder may be faster and have made it anew.
fn replace(dir: &Path, put: fn(&Path) -> bool) {
    let mut aways = (0..).map(|i| dir.with_file_name(format!("away{i}")));
    eventually("the place of the directory", || {
        fs::rename(dir, aways.next()?).ok()?;
        put(dir).then_some(())
    });
}

/// Does harm to a recorder, and sees it come back once that is possible.
fn see_it_come_back(fault: &Fault) {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("pipes");
    let recorder = Recorder::builder(&STATS).directory(&dir).upkeep_interval(OFTEN).start().unwrap();
    assert_eq!(locked_read(&recorder.path()), "a: 1\n");
    (fault.harm)(&dir, &recorder.path());
    if let Some(allow) = fault.allow {
        // What is impossible is tried more than once.
        observe_for(OFTEN * 3);
        allow(&dir);
    }
    eventually(fault.what, || (read_whole(&recorder.path()) == "a: 1\n").then_some(()));

    let open = PipeDir::open(&dir).unwrap();
    let name = recorder.path().file_name().unwrap().to_owned();
    let name = PipeName::parse(std::os::unix::ffi::OsStrExt::as_bytes(name.as_os_str())).unwrap();
    assert_eq!(name.pid, process::id());
    assert!(liveness::is_alive(&open, &name).unwrap(), "{}", fault.what);
    drop(recorder);
    let left = names(&dir);
    let is_precious = |path: &Path| path.is_file() && fs::read(path).unwrap() == b"precious";
    let kept = left.iter().filter(|name| is_precious(&dir.join(name))).count();
    assert_eq!(kept, left.len(), "{}: {left:?}", fault.what);
}

#[test]
fn whatever_is_taken_away_is_back_at_the_next_upkeep() {
    if !alone("taken_away::whatever_is_taken_away_is_back_at_the_next_upkeep") {
        return;
    }
    become_ordinary();
    STATS.incr("a", 1);
    FAULTS.iter().for_each(see_it_come_back);
}

#[test]
fn a_directory_that_root_set_up_is_not_made_by_an_ordinary_user() {
    if !alone("taken_away::a_directory_that_root_set_up_is_not_made_by_an_ordinary_user") {
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
    // The threads go on as the user that the process has when they begin; each has one of its own.
    nix::unistd::seteuid(65_534.into()).unwrap();
    let recorder = Recorder::builder(&STATS).directory(&dir).upkeep_interval(OFTEN).start().unwrap();
    nix::unistd::seteuid(0.into()).unwrap();
    let away = temp.path().join("away");
    fs::rename(&dir, &away).unwrap();
    observe_for(OFTEN * 3);
    assert!(!dir.exists());
    fs::rename(&away, &dir).unwrap();
    eventually("the pipe", || (read_whole(&recorder.path()) == "a: 1\n").then_some(()));
}

// 1. Root sets up a directory for several users, and publishes there itself. 2. Somebody removes the directory. 3. Root's
// recorder made it anew, for root alone, and all others were locked out.
#[test]
fn a_directory_for_several_users_is_not_made_by_its_owner_either() {
    if !alone("taken_away::a_directory_for_several_users_is_not_made_by_its_owner_either") {
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
    let recorder = Recorder::builder(&STATS).directory(&dir).upkeep_interval(OFTEN).start().unwrap();
    remove_all(&dir);
    observe_for(OFTEN * 3);
    assert!(!dir.exists());
    set_up();
    eventually("the pipe", || (read_whole(&recorder.path()) == "a: 1\n").then_some(()));
}
