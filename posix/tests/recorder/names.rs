//! Which name a pipe gets, and what happens to what has that name already.

use crate::support::{Stats, cat, names};
use nix::sys::stat::Mode;
use statvent_posix::{Error, PipeDir, Recorder, liveness};
use std::fs;
use std::os::unix::fs::symlink;
use std::process;

fn own(suffix: &str) -> String {
    format!("{}{suffix}.stats", process::id())
}

#[test]
fn a_second_recorder_of_a_process_gets_a_suffix_and_the_first_free_one() {
    static STATS: [Stats; 3] = [const { Stats::new() }; 3];
    let temp = tempfile::tempdir().unwrap();
    let start = |stats: &'static Stats| Recorder::builder(stats).directory(temp.path()).start().unwrap();
    for (i, stats) in STATS.iter().enumerate() {
        stats.set("i", i as u32);
    }
    let first = start(&STATS[0]);
    let second = start(&STATS[1]);
    assert_eq!(names(temp.path()), [own("-1"), own("")]);
    assert_eq!(second.path(), temp.path().join(own("-1")));
    drop(first);
    let third = start(&STATS[2]);
    assert_eq!(third.path(), temp.path().join(own("")));
    assert_eq!((cat(&second.path()), cat(&third.path())), ("i: 1\n".into(), "i: 2\n".into()));
    let dir = PipeDir::open(temp.path()).unwrap();
    assert!(liveness::is_alive(&dir, process::id(), 1).unwrap());
    drop(second);
    assert!(!liveness::is_alive(&dir, process::id(), 1).unwrap());
}

#[test]
fn a_label_stands_before_the_pid() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    let recorder = Recorder::builder(&STATS).directory(temp.path()).label("board1").start().unwrap();
    assert_eq!(recorder.path(), temp.path().join(format!("board1.{}", own(""))));
    let wrong = Recorder::builder(&STATS).directory(temp.path()).label("a.b").start();
    assert!(matches!(wrong.unwrap_err(), Error::Label { found } if found == "a.b"));
}

#[test]
fn a_pipe_that_a_dead_process_of_the_same_pid_left_is_replaced() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    STATS.incr("a", 1);
    nix::unistd::mkfifo(&temp.path().join(own("")), Mode::S_IRUSR).unwrap();
    let recorder = Recorder::builder(&STATS).directory(temp.path()).start().unwrap();
    assert_eq!(names(temp.path()), [own("")]);
    assert_eq!(cat(&recorder.path()), "a: 1\n");
}

#[test]
fn files_links_and_directories_of_our_name_are_left_alone() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    STATS.incr("a", 1);
    fs::write(temp.path().join("target"), "precious").unwrap();
    nix::unistd::mkfifo(&temp.path().join("fifo"), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    fs::write(temp.path().join(own("")), "precious").unwrap();
    symlink("target", temp.path().join(own("-1"))).unwrap();
    symlink("fifo", temp.path().join(own("-2"))).unwrap();
    fs::create_dir(temp.path().join(own("-3"))).unwrap();
    let before = names(temp.path());
    let recorder = Recorder::builder(&STATS).directory(temp.path()).start().unwrap();
    assert_eq!(recorder.path(), temp.path().join(own("-4")));
    assert_eq!(cat(&recorder.path()), "a: 1\n");
    drop(recorder);
    assert_eq!(names(temp.path()), before);
    assert_eq!(fs::read(temp.path().join(own(""))).unwrap(), b"precious");
    assert_eq!(fs::read(temp.path().join("target")).unwrap(), b"precious");
}

#[test]
fn a_directory_we_may_not_write_is_refused_in_a_sentence() {
    use crate::support::{alone, become_ordinary};
    use std::os::unix::fs::PermissionsExt;
    if !alone("names::a_directory_we_may_not_write_is_refused_in_a_sentence") {
        return;
    }
    static STATS: Stats = Stats::new();
    become_ordinary();
    let temp = tempfile::tempdir().unwrap();
    fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let err = Recorder::builder(&STATS).directory(temp.path()).start().unwrap_err();
    let path = temp.path().display();
    assert_eq!(
        err.to_string(),
        format!(
            "no pipe can be made in {path}: let its owner set it up for several users (`chmod 1777 {path}`), or set \
             STATVENT_PIPE_DIR to another directory"
        )
    );
    fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o755)).unwrap();
}
