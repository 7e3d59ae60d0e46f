//! Names of pipes: choice of the instance number, and existing files that already have the name.

use crate::support::{
    SHORT_INTERVAL, Stats, cat, drop_privileges, eventually, in_own_process, names, try_read,
};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::Mode;
use statvent_posix::pipe_name::PipeName;
use statvent_posix::{Error, PipeDir, Recorder, liveness};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{process, thread};

/// Locks every byte of a directory, which any user with read permission can do.
fn lock_all_bytes(dir: &Path) -> File {
    let description = File::open(dir).unwrap();
    let all = libc::flock {
        l_type: libc::F_RDLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&description, FcntlArg::F_OFD_SETLK(&all)).unwrap();
    description
}

fn own_name(suffix: &str) -> String {
    format!("{}{suffix}.stats", process::id())
}

#[test]
fn a_further_recorder_of_a_process_gets_the_first_free_instance() {
    static STATS: [Stats; 3] = [const { Stats::new() }; 3];
    let temp = tempfile::tempdir().unwrap();
    let start = |stats: &'static Stats| Recorder::builder(stats).directory(temp.path()).start().unwrap();
    for (i, stats) in STATS.iter().enumerate() {
        stats.set("i", i as u32);
    }
    let first = start(&STATS[0]);
    let second = start(&STATS[1]);
    assert_eq!(names(temp.path()), [own_name("-1"), own_name("")]);
    assert_eq!(second.path(), temp.path().join(own_name("-1")));
    drop(first);
    let third = start(&STATS[2]);
    assert_eq!(third.path(), temp.path().join(own_name("")));
    assert_eq!((cat(&second.path()), cat(&third.path())), ("i: 1\n".into(), "i: 2\n".into()));
    let dir = PipeDir::open(temp.path()).unwrap();
    assert!(liveness::is_alive(&dir, &PipeName { label: None, pid: process::id(), instance: 1 }).unwrap());
    drop(second);
    // A subprocess that another test is spawning inherits the lock's descriptor until its exec.
    let is_free =
        || !liveness::is_alive(&dir, &PipeName { label: None, pid: process::id(), instance: 1 }).unwrap();
    eventually("a free byte", || is_free().then_some(()));
}

#[test]
fn a_label_precedes_the_pid() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    let recorder = Recorder::builder(&STATS).directory(temp.path()).label("board1").start().unwrap();
    assert_eq!(recorder.path(), temp.path().join(format!("board1.{}", own_name(""))));
    let wrong = Recorder::builder(&STATS).directory(temp.path()).label("a.b").start();
    assert!(matches!(wrong.unwrap_err(), Error::Label { found } if found == "a.b"));
}

#[test]
fn the_pipe_of_a_dead_process_with_the_same_pid_is_replaced() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    STATS.incr("a", 1);
    nix::unistd::mkfifo(&temp.path().join(own_name("")), Mode::S_IRUSR).unwrap();
    let recorder = Recorder::builder(&STATS).directory(temp.path()).start().unwrap();
    assert_eq!(names(temp.path()), [own_name("")]);
    assert_eq!(cat(&recorder.path()), "a: 1\n");
}

fn name_of(recorder: &Recorder) -> String {
    recorder.path().file_name().unwrap().to_str().unwrap().to_owned()
}

/// Starts a recorder without health check.
fn start_in(dir: &Path) -> Recorder {
    static STATS: Stats = Stats::new();
    STATS.set("a", 1);
    Recorder::builder(&STATS).directory(dir).without_health_check().start().unwrap()
}

/// Makes the directory unwritable and reads the pipe, which then can be neither replaced nor removed.
fn make_pipe_undeletable(recorder: &Recorder, dir: &Path) {
    fs::set_permissions(dir, Permissions::from_mode(0o555)).unwrap();
    assert_eq!(cat(&recorder.path()), "a: 1\n");
}

#[test]
fn readers_of_an_undeletable_pipe_get_end_of_file_without_health_check() {
    if !in_own_process("names::readers_of_an_undeletable_pipe_get_end_of_file_without_health_check") {
        return;
    }
    drop_privileges();
    let temp = tempfile::tempdir().unwrap();
    let recorder = start_in(temp.path());
    make_pipe_undeletable(&recorder, temp.path());
    for _ in 0..3 {
        assert_eq!(cat(&recorder.path()), "");
    }
    fs::set_permissions(temp.path(), Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn an_undeletable_pipe_is_removed_later_despite_a_foreign_lock_on_its_byte() {
    if !in_own_process("names::an_undeletable_pipe_is_removed_later_despite_a_foreign_lock_on_its_byte") {
        return;
    }
    drop_privileges();
    let temp = tempfile::tempdir().unwrap();
    let recorder = start_in(temp.path());
    let _bytes = lock_all_bytes(temp.path());
    make_pipe_undeletable(&recorder, temp.path());
    fs::set_permissions(temp.path(), Permissions::from_mode(0o755)).unwrap();
    eventually("a whole snapshot", || (try_read(&recorder.path()) == "a: 1\n").then_some(()));
    // During a swap the fresh pipe has a hidden name.
    eventually("one pipe", || (names(temp.path()) == [name_of(&recorder)]).then_some(()));
}

// Regression:
// 1. A reader comes while the directory is unwritable: the pipe can be neither replaced nor removed.
// 2. The recorder finds its name occupied by that pipe.
// 3. The directory becomes writable, and the recorder publishes under the next instance number.
// 4. The old pipe stayed, even after the recorder had stopped, and every reader of it waited forever.
#[test]
fn toggling_write_permission_leaves_no_pipe_behind() {
    if !in_own_process("names::toggling_write_permission_leaves_no_pipe_behind") {
        return;
    }
    drop_privileges();
    let temp = tempfile::tempdir().unwrap();
    let set_mode = |mode| fs::set_permissions(temp.path(), Permissions::from_mode(mode)).unwrap();
    // A tombstone that could not be deleted is left to the sweeper.
    let pipes = || {
        let names = names(temp.path()).into_iter();
        names.filter(|name| !name.starts_with('.')).collect::<Vec<_>>()
    };
    for _ in 0..50 {
        let recorder = start_in(temp.path());
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Acquire) {
                    set_mode(0o555);
                    set_mode(0o755);
                }
            });
            let all_reads = catch_unwind(AssertUnwindSafe(|| {
                (0..5).for_each(|_| drop(try_read(&recorder.path())));
            }));
            // Also after a failed assertion: otherwise the scope would never end.
            is_over.store(true, Ordering::Release);
            all_reads.unwrap();
        });
        eventually("a whole snapshot", || (try_read(&recorder.path()) == "a: 1\n").then_some(()));
        // The recorder tries again to remove the old pipe at the next read.
        eventually("one pipe", || (pipes() == [name_of(&recorder)]).then_some(()));
        drop(recorder);
        assert_eq!(pipes(), [""; 0]);
    }
}

#[test]
fn an_undeletable_pipe_is_removed_with_its_recorder() {
    if !in_own_process("names::an_undeletable_pipe_is_removed_with_its_recorder") {
        return;
    }
    drop_privileges();
    for _ in 0..20 {
        let temp = tempfile::tempdir().unwrap();
        let recorder = start_in(temp.path());
        make_pipe_undeletable(&recorder, temp.path());
        fs::set_permissions(temp.path(), Permissions::from_mode(0o755)).unwrap();
        drop(recorder);
        assert!(names(temp.path()).is_empty());
    }
}

#[test]
fn recorders_with_different_labels_do_not_compete_for_names() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    let start = |label: &str| Recorder::builder(&STATS).directory(temp.path()).label(label).start().unwrap();
    let (shop, cart) = (start("shop"), start("cart"));
    assert_eq!(shop.path(), temp.path().join(format!("shop.{}", own_name(""))));
    assert_eq!(cart.path(), temp.path().join(format!("cart.{}", own_name(""))));
}

#[test]
fn foreign_locks_on_all_bytes_do_not_prevent_publishing() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    STATS.incr("a", 1);
    let _held = lock_all_bytes(temp.path());
    let start = || Recorder::builder(&STATS).directory(temp.path()).start().unwrap();
    let first = start();
    assert_eq!(first.path(), temp.path().join(own_name("")));
    let second = start();
    assert_eq!(second.path(), temp.path().join(own_name("-1")));
    assert_eq!((cat(&first.path()), cat(&second.path())), ("a: 1\n".into(), "a: 1\n".into()));
}

#[test]
fn a_dead_pipe_with_a_foreign_lock_stays_and_the_next_instance_is_used() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    nix::unistd::mkfifo(&temp.path().join(own_name("")), Mode::S_IRUSR).unwrap();
    let held = lock_all_bytes(temp.path());
    let start = || Recorder::builder(&STATS).directory(temp.path()).start().unwrap();
    let first = start();
    assert_eq!(first.path(), temp.path().join(own_name("-1")));
    assert_eq!(names(temp.path()), [own_name("-1"), own_name("")]);
    drop(held);
    // A subprocess that another test is spawning inherits the lock's descriptor until its exec.
    let dir = PipeDir::open(temp.path()).unwrap();
    let is_free =
        || !liveness::is_alive(&dir, &PipeName { label: None, pid: process::id(), instance: 0 }).unwrap();
    eventually("a free byte", || is_free().then_some(()));
    assert_eq!(start().path(), temp.path().join(own_name("")));
}

#[test]
fn concurrent_starts_share_no_name() {
    const N: usize = 8;
    static STATS: [Stats; N] = [const { Stats::new() }; N];
    let temp = tempfile::tempdir().unwrap();
    for (i, stats) in STATS.iter().enumerate() {
        stats.set("i", i as u32);
    }
    for _ in 0..20 {
        for suffix in ["", "-1", "-3"] {
            nix::unistd::mkfifo(&temp.path().join(own_name(suffix)), Mode::S_IRUSR).unwrap();
        }
        let (barrier, dir) = (Barrier::new(N), temp.path());
        let start = |stats: &'static Stats| {
            barrier.wait();
            Recorder::builder(stats).directory(dir).without_health_check().start().unwrap()
        };
        let recorders: Vec<_> = thread::scope(|scope| {
            let starting: Vec<_> = STATS.iter().map(|stats| scope.spawn(move || start(stats))).collect();
            starting.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for (i, recorder) in recorders.iter().enumerate() {
            assert_eq!(cat(&recorder.path()), format!("i: {i}\n"));
        }
        drop(recorders);
        // A dead pipe that two recorders checked at the same moment looked alive to both, and stays.
        for name in names(temp.path()) {
            fs::remove_file(temp.path().join(name)).unwrap();
        }
    }
}

#[test]
fn a_start_without_descriptors_fails_and_leaves_no_pipe() {
    if !in_own_process("names::a_start_without_descriptors_fails_and_leaves_no_pipe") {
        return;
    }
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().to_owned();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let mut messages = Vec::new();
    for limit in 0..soft {
        setrlimit(Resource::RLIMIT_NOFILE, limit, hard).unwrap();
        let started = Recorder::builder(&STATS).directory(&path).start();
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
        match started {
            Ok(_) => break,
            Err(err) => messages.push(err.to_string()),
        }
        assert!(names(&path).is_empty(), "{:?}: {:?}", messages.last(), names(&path));
    }
    let expected = "no descriptor is left: raise the limit of open files (`ulimit -n`; fs.file-max for the whole system)";
    assert!(messages.iter().all(|message| message.ends_with(expected)), "{messages:?}");
    for begin in ["pipe directory ", "cannot create a pipe in "] {
        assert!(messages.iter().any(|message| message.starts_with(begin)), "{begin}: {messages:?}");
    }
}

#[test]
fn files_links_and_directories_with_our_name_are_not_touched() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    STATS.incr("a", 1);
    fs::write(temp.path().join("target"), "precious").unwrap();
    nix::unistd::mkfifo(&temp.path().join("fifo"), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    fs::write(temp.path().join(own_name("")), "precious").unwrap();
    symlink("target", temp.path().join(own_name("-1"))).unwrap();
    symlink("fifo", temp.path().join(own_name("-2"))).unwrap();
    fs::create_dir(temp.path().join(own_name("-3"))).unwrap();
    let before = names(temp.path());
    let recorder = Recorder::builder(&STATS).directory(temp.path()).start().unwrap();
    assert_eq!(recorder.path(), temp.path().join(own_name("-4")));
    assert_eq!(cat(&recorder.path()), "a: 1\n");
    drop(recorder);
    assert_eq!(names(temp.path()), before);
    assert_eq!(fs::read(temp.path().join(own_name(""))).unwrap(), b"precious");
    assert_eq!(fs::read(temp.path().join("target")).unwrap(), b"precious");
}

#[test]
fn an_unwritable_directory_is_refused_with_advice() {
    if !in_own_process("names::an_unwritable_directory_is_refused_with_advice") {
        return;
    }
    static STATS: Stats = Stats::new();
    drop_privileges();
    let temp = tempfile::tempdir().unwrap();
    fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let err = Recorder::builder(&STATS).directory(temp.path()).start().unwrap_err();
    let path = temp.path().display();
    assert_eq!(
        err.to_string(),
        format!(
            "cannot create a pipe in {path}: let its owner set it up for several users (`chmod 1777 {path}`), or \
             choose another directory (STATVENT_PIPE_DIR names the default one)"
        )
    );
    fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o755)).unwrap();
}

// Regression:
// 1. Another user of a shared directory creates files with the hidden names that a recorder will use.
// 2. At the first read the recorder could not create a fresh pipe or remove its old one, and never published again.
#[test]
fn occupied_hidden_names_do_not_prevent_publishing() {
    if !in_own_process("names::occupied_hidden_names_do_not_prevent_publishing") {
        return;
    }
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    STATS.incr("a", 1);
    let pid = process::id();
    let staging_names = (0..64).map(|n| format!(".{pid}.stats.new{n}"));
    for name in staging_names.chain((0..300).map(|n| format!(".{pid}-{n}.dead"))) {
        fs::write(temp.path().join(name), "occupied").unwrap();
    }
    let occupied = names(temp.path());
    nix::unistd::mkfifo(&temp.path().join(own_name("")), Mode::S_IRUSR).unwrap();
    let recorder = Recorder::builder(&STATS)
        .directory(temp.path())
        .health_check_interval(SHORT_INTERVAL)
        .start()
        .unwrap();
    assert_eq!(recorder.path(), temp.path().join(own_name("")));
    for _ in 0..5 {
        assert_eq!(cat(&recorder.path()), "a: 1\n");
        fs::remove_file(recorder.path()).unwrap();
        eventually("the pipe", || recorder.path().exists().then_some(()));
    }
    drop(recorder);
    assert_eq!(names(temp.path()), occupied);
}
