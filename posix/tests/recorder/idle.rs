//! What a recorder costs while nobody reads: nothing.

use crate::support::{
    Stats, alone, cat, eventually, is_waiting_in_open, observe_for, switches, thread_named,
};
use statvent_posix::Recorder;
use std::time::Duration;

static STATS: Stats = Stats::new();

#[test]
fn the_recorders_thread_is_not_switched_to_while_nobody_reads() {
    if !alone("idle::the_recorders_thread_is_not_switched_to_while_nobody_reads") {
        return;
    }
    STATS.incr("a", 1);
    let temp = tempfile::tempdir().unwrap();
    let recorder = Recorder::builder(&STATS).directory(temp.path()).start().unwrap();
    assert_eq!(cat(&recorder.path()), "a: 1\n");
    let thread = eventually("the thread", || thread_named("statvent-pipe"));
    // It is idle once it sleeps in `open` and a moment has brought no switch.
    let before = eventually("the thread to sleep", || {
        let before = is_waiting_in_open(&thread).then(|| switches(&thread))?;
        observe_for(Duration::from_millis(100));
        (is_waiting_in_open(&thread) && switches(&thread) == before).then_some(before)
    });
    observe_for(Duration::from_secs(3));
    assert_eq!(switches(&thread), before);
    assert_eq!(cat(&recorder.path()), "a: 1\n");
    eventually("the thread to wake up", || (switches(&thread) > before).then_some(()));
}
