//! Cost of an idle recorder: no wake-up while no reader comes.

use crate::support::{
    Stats, cat, context_switches, eventually, in_own_process, is_blocked_in_open, observe_for, thread_named,
};
use statvent_posix::Recorder;
use std::time::Duration;

static STATS: Stats = Stats::new();

#[test]
fn the_recorder_thread_sleeps_while_no_reader_comes() {
    if !in_own_process("idle::the_recorder_thread_sleeps_while_no_reader_comes") {
        return;
    }
    STATS.incr("a", 1);
    let temp = tempfile::tempdir().unwrap();
    let recorder = Recorder::builder(&STATS).directory(temp.path()).start().unwrap();
    assert_eq!(cat(&recorder.path()), "a: 1\n");
    let thread = eventually("the thread", || thread_named("statvent-pipe"));
    // Idle: it sleeps in `open` and has no context switch for 100 ms.
    let before = eventually("the thread to sleep", || {
        let before = is_blocked_in_open(&thread).then(|| context_switches(&thread))?;
        observe_for(Duration::from_millis(100));
        (is_blocked_in_open(&thread) && context_switches(&thread) == before).then_some(before)
    });
    observe_for(Duration::from_secs(3));
    assert_eq!(context_switches(&thread), before);
    assert_eq!(cat(&recorder.path()), "a: 1\n");
    eventually("the thread to wake up", || (context_switches(&thread) > before).then_some(()));
}
