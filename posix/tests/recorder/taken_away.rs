//! Whatever is taken away from a recorder comes back, while nobody reads and its thread sleeps: at the next upkeep, or at
//! once where it watches.

use crate::support::{
    DEADLINE, Stats, alone, become_ordinary, errand, eventually, locked_read, names, observe_for, read_whole,
    skip, start_alone_by,
};
use statvent_core::pipe_name::PipeName;
use statvent_posix::{PipeDir, Recorder, liveness};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

static STATS: Stats = Stats::new();

/// A user's inotify instances, which one of these tests uses up.
static INSTANCES: Mutex<()> = Mutex::new(());

/// How soon a watched pipe is to be there again.
const AT_ONCE: Duration = Duration::from_millis(100);

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
            assert_eq!(read_whole(pipe), "a: 1\n");
        },
        allow: Some(|dir| fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap()),
    },
];

/// Removes a directory whose recorder may be putting a pipe there at the same time.
fn remove_all(dir: &Path) {
    eventually("the directory to be empty", || fs::remove_dir_all(dir).ok());
}

/// Puts something in the place of a directory; its recorder may be faster and have made it anew.
fn replace(dir: &Path, put: fn(&Path) -> bool) {
    let mut aways = (0..).map(|i| dir.with_file_name(format!("away{i}")));
    eventually("the place of the directory", || {
        fs::rename(dir, aways.next()?).ok()?;
        put(dir).then_some(())
    });
}

/// Does harm to a recorder, and returns how long it took until a reader got a snapshot: from the harm itself, or from when
/// that was possible again.
fn time_to_come_back(fault: &Fault, interval: Duration, is_watching: bool) -> Duration {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("pipes");
    let mut builder = Recorder::builder(&STATS).directory(&dir).upkeep_interval(interval);
    if is_watching {
        builder = builder.watch();
    }
    let recorder = builder.start().unwrap();
    assert_eq!(locked_read(&recorder.path()), "a: 1\n");
    // Its threads have come to rest.
    observe_for(Duration::from_millis(20));
    let harmed = Instant::now();
    (fault.harm)(&dir, &recorder.path());
    let begin = match fault.allow {
        Some(allow) => {
            // What is impossible is tried more than once.
            observe_for(Duration::from_millis(30));
            allow(&dir);
            Instant::now()
        }
        None => harmed,
    };
    eventually(fault.what, || (read_whole(&recorder.path()) == "a: 1\n").then_some(()));
    let took = begin.elapsed();

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
    took
}

#[test]
fn whatever_is_taken_away_is_back_at_the_next_upkeep() {
    if !alone("taken_away::whatever_is_taken_away_is_back_at_the_next_upkeep") {
        return;
    }
    become_ordinary();
    STATS.incr("a", 1);
    for fault in &FAULTS {
        let interval = Duration::from_millis(200);
        let took = time_to_come_back(fault, interval, false);
        // A moment more, for a machine that is busy.
        assert!(took < interval * 5, "{}: {took:?}", fault.what);
    }
}

#[test]
fn whatever_is_taken_away_is_back_at_once_where_it_is_watched() {
    let _instances = INSTANCES.lock().unwrap_or_else(PoisonError::into_inner);
    if !alone("taken_away::whatever_is_taken_away_is_back_at_once_where_it_is_watched") {
        return;
    }
    become_ordinary();
    STATS.incr("a", 1);
    for fault in &FAULTS {
        // Of several the worst. Where the machine is too busy to give a thread its turn, all of them are tried again.
        let mut rounds =
            (0..3).map(|_| (0..5).map(|_| time_to_come_back(fault, DEADLINE * 10, true)).max().unwrap());
        let mut worst = Vec::new();
        let is_at_once = rounds.any(|took| {
            worst.push(took);
            took < AT_ONCE
        });
        assert!(is_at_once, "{}: {worst:?}", fault.what);
    }
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
    let recorder = Recorder::builder(&STATS).directory(&dir).watch().start().unwrap();
    nix::unistd::seteuid(0.into()).unwrap();
    let away = temp.path().join("away");
    fs::rename(&dir, &away).unwrap();
    observe_for(Duration::from_millis(300));
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
    let recorder = Recorder::builder(&STATS).directory(&dir).watch().start().unwrap();
    remove_all(&dir);
    observe_for(Duration::from_millis(300));
    assert!(!dir.exists());
    set_up();
    eventually("the pipe", || (read_whole(&recorder.path()) == "a: 1\n").then_some(()));
}

#[test]
fn a_recorder_that_gets_no_watch_says_so_once_and_is_mended_by_upkeep() {
    if errand().is_some() {
        return lose_pipes_without_a_watch();
    }
    let _instances = INSTANCES.lock().unwrap_or_else(PoisonError::into_inner);
    let stderr = tempfile::NamedTempFile::new().unwrap();
    let name = "taken_away::a_recorder_that_gets_no_watch_says_so_once_and_is_mended_by_upkeep";
    let process = start_alone_by(&[], name, "none".as_ref(), stderr.reopen().unwrap().into());
    let pid = process.pid();
    let status = process.wait();
    let said = fs::read_to_string(stderr.path()).unwrap();
    assert!(status.success(), "{status}: {said}");
    let lines: Vec<_> = said.lines().filter(|line| line.starts_with("statvent:")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    let begin = format!("statvent: process {pid}: /");
    let end = format!(
        "/{pid}.stats cannot be watched, so that it is mended at the next upkeep instead of at once; raise \
         fs.inotify.max_user_instances: Too many open files (os error 24)"
    );
    assert!(lines[0].starts_with(&begin) && lines[0].ends_with(&end), "{said}");
}

fn lose_pipes_without_a_watch() {
    use nix::sys::inotify::{InitFlags, Inotify};
    // Each user has instances of its own.
    become_ordinary();
    let taken: Vec<_> = (0..100_000).map_while(|_| Inotify::init(InitFlags::IN_CLOEXEC).ok()).collect();
    STATS.incr("a", 1);
    let temp = tempfile::tempdir().unwrap();
    let often = Duration::from_millis(20);
    let start =
        || Recorder::builder(&STATS).directory(temp.path()).upkeep_interval(often).watch().start().unwrap();
    let recorder = start();
    for _ in 0..5 {
        fs::remove_file(recorder.path()).unwrap();
        eventually("the pipe", || (read_whole(&recorder.path()) == "a: 1\n").then_some(()));
    }
    drop(taken);
}
