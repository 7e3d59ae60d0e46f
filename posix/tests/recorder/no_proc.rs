//! A recorder without `/proc`, as in a chroot: it polls for readers instead of sleeping in `open`.

use crate::faults::assert_little_cpu_time;
use crate::namespaces::unshare_command;
use crate::support::{
    SHORT_INTERVAL, Stats, cat, eventually, names, spawn_test_with, subprocess_arg, within,
};
use nix::unistd::{chdir, chroot};
use statvent_posix::Recorder;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

#[test]
fn a_recorder_serves_repairs_and_stops_without_proc() {
    if let Some(root) = subprocess_arg() {
        return serve_repair_and_stop(&root);
    }
    // `chroot` needs root, or root of a user namespace.
    let Some(unshare) = unshare_command(&["--mount"]) else { return };
    let temp = tempfile::tempdir().unwrap();
    let name = "no_proc::a_recorder_serves_repairs_and_stops_without_proc";
    let status = spawn_test_with(&unshare, name, temp.path(), Stdio::inherit()).wait();
    assert!(status.success(), "{status}");
}

fn serve_repair_and_stop(root: &Path) {
    static STATS: Stats = Stats::new();
    chroot(root).unwrap();
    chdir("/").unwrap();
    STATS.incr("a", 1);
    let recorder =
        Recorder::builder(&STATS).directory("/pipes").health_check_interval(SHORT_INTERVAL).start().unwrap();
    for _ in 0..3 {
        assert_eq!(cat(&recorder.path()), "a: 1\n");
        fs::remove_file(recorder.path()).unwrap();
        eventually("the pipe", || recorder.path().exists().then_some(()));
        assert_eq!(cat(&recorder.path()), "a: 1\n");
    }
    assert_little_cpu_time(Duration::from_secs(1));
    within("the recorder to stop", move || drop(recorder));
    assert!(names("/pipes".as_ref()).is_empty());
}
