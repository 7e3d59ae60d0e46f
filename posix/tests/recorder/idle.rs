//! What a recorder costs while nobody reads: nothing.

use crate::support::{Stats, alone, cat, eventually, observe_for, switches, thread_named};
use statvent_posix::{Recorder, RecorderBuilder};
use std::time::Duration;

static STATS: Stats = Stats::new();

/// Sees a thread of a recorder sleep for five seconds without a wake-up, and then wake up for a reader.
fn see_it_rest(thread: &str, builder: RecorderBuilder) {
    STATS.incr("a", 1);
    let recorder = builder.start().unwrap();
    assert_eq!(cat(&recorder.path()), "a: 1\n");
    let thread = eventually("the thread", || thread_named(thread));
    // It is idle once it sleeps and a moment has brought no switch.
    let before = eventually("the thread to sleep", || {
        let before = switches(&thread);
        observe_for(Duration::from_millis(100));
        (switches(&thread) == before).then_some(before)
    });
    observe_for(Duration::from_secs(5));
    assert_eq!(switches(&thread), before);
    assert_eq!(cat(&recorder.path()), "a: 1\n");
    eventually("the thread to wake up", || (switches(&thread) > before).then_some(()));
}

#[test]
fn the_recorders_thread_is_not_switched_to_once_in_five_seconds() {
    if alone("idle::the_recorders_thread_is_not_switched_to_once_in_five_seconds") {
        let temp = tempfile::tempdir().unwrap();
        see_it_rest("statvent-pipe", Recorder::builder(&STATS).directory(temp.path()));
    }
}

#[test]
fn a_watching_thread_is_not_switched_to_once_in_five_seconds() {
    if alone("idle::a_watching_thread_is_not_switched_to_once_in_five_seconds") {
        let temp = tempfile::tempdir().unwrap();
        see_it_rest("statvent-upkeep", Recorder::builder(&STATS).directory(temp.path()).watch());
    }
}
