//! What a recorder costs while nobody reads: nothing.

use crate::support::{Stats, alone, cat, eventually, observe_for};
use statvent_posix::Recorder;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

#[test]
fn the_recorders_thread_is_not_switched_to_once_in_five_seconds() {
    if !alone("idle::the_recorders_thread_is_not_switched_to_once_in_five_seconds") {
        return;
    }
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    STATS.incr("a", 1);
    let recorder = Recorder::builder(&STATS).directory(temp.path()).start().unwrap();
    assert_eq!(cat(&recorder.path()), "a: 1\n");
    let thread = eventually("the thread", || thread_named("statvent-pipe"));
    // It is idle once it sleeps and a moment has brought no switch.
    let before = eventually("the thread to sleep", || {
        let before = switches(&thread);
        observe_for(Duration::from_millis(50));
        (switches(&thread) == before).then_some(before)
    });
    observe_for(Duration::from_secs(5));
    assert_eq!(switches(&thread), before);
    assert_eq!(cat(&recorder.path()), "a: 1\n");
    assert_ne!(switches(&thread), before, "the wrong thread was watched");
}

fn thread_named(name: &str) -> Option<PathBuf> {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let mut paths = threads.map(|thread| thread.unwrap().path());
    paths.find(|path| fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim_end() == name))
}

/// Returns how often the scheduler switched away from a thread, of its own will or not.
fn switches(thread: &std::path::Path) -> u64 {
    let status = fs::read_to_string(thread.join("status")).unwrap();
    let counts = status.lines().filter_map(|line| {
        let (name, count) = line.split_once(':')?;
        name.ends_with("voluntary_ctxt_switches").then(|| count.trim().parse::<u64>().unwrap())
    });
    counts.sum()
}
