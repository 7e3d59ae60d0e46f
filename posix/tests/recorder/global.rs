//! The global recorder: a process starts it at most once.

use crate::support::{Stats, cat, in_own_process, names};
use statvent_posix::start_global;
use std::{env, fs, process};

#[test]
fn the_first_successful_call_decides() {
    if !in_own_process("global::the_first_successful_call_decides") {
        return;
    }
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    let (file, first, other) = (temp.path().join("file"), temp.path().join("a"), temp.path().join("b"));
    fs::write(&file, "").unwrap();
    STATS.incr("a", 1);
    assert!(start_global(&STATS, Some(&file)).is_err());
    for dir in [Some(&first), Some(&first), Some(&other), None] {
        start_global(&STATS, dir.map(|path| path.as_path())).unwrap();
    }
    assert_eq!(names(temp.path()), ["a", "file"]);
    let pipe = format!("{}.stats", process::id());
    assert_eq!(names(&first), [pipe.as_str()]);
    assert_eq!(cat(&first.join(pipe)), "a: 1\n");
}

#[test]
fn the_environment_variable_sets_the_directory() {
    if !in_own_process("global::the_environment_variable_sets_the_directory") {
        return;
    }
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    // SAFETY: this process runs one test, and only this thread reads the environment.
    unsafe { env::set_var("STATVENT_PIPE_DIR", temp.path()) };
    start_global(&STATS, None).unwrap();
    assert_eq!(names(temp.path()), [format!("{}.stats", process::id())]);
}
