//! Exact counts in snapshots while threads and stats come and go.

use crate::support::{cat, locked_read, within};
use statvent_core::Registry;
use statvent_posix::Recorder;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

const THREADS_AT_A_TIME: u64 = 4;
const THREADS: u64 = 400;
const CALLS: u64 = 500;

/// Capacity for one stat per thread and one shared by all threads.
static STATS: Registry<1024, 2, 16_384> = Registry::new();

/// Calls that began and calls that ended: every value read lies between the two.
static BEGUN: AtomicU64 = AtomicU64::new(0);
static ENDED: AtomicU64 = AtomicU64::new(0);

static N_READS: AtomicU64 = AtomicU64::new(0);

/// The work of one short-lived thread: increments the shared stat and a new stat of its own.
fn count(thread: u64) {
    let own = format!("thread.{thread}");
    for _ in 0..CALLS {
        BEGUN.fetch_add(1, Ordering::SeqCst);
        STATS.incr("all", 1);
        ENDED.fetch_add(1, Ordering::SeqCst);
        STATS.incr(&own, 1);
    }
}

fn value(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    value.map_or(0, |value| value.parse().unwrap())
}

#[test]
fn threads_and_stats_added_during_reads_are_counted_exactly() {
    let temp = tempfile::tempdir().unwrap();
    let recorder = Recorder::builder(&STATS).directory(temp.path()).start().unwrap();
    let path = recorder.path();
    within("the threads", move || {
        let counting = thread::spawn(|| {
            for first in (0..THREADS).step_by(THREADS_AT_A_TIME as usize) {
                // Keeps the reads in step, so that they happen between the threads.
                while N_READS.load(Ordering::Relaxed) < first / 20 {
                    thread::yield_now();
                }
                thread::scope(|scope| {
                    (first..first + THREADS_AT_A_TIME)
                        .for_each(|thread| drop(scope.spawn(move || count(thread))));
                });
            }
        });
        while !counting.is_finished() {
            let at_least = ENDED.load(Ordering::SeqCst);
            let text = locked_read(&path);
            let at_most = BEGUN.load(Ordering::SeqCst);
            let found = value(&text, "all");
            assert!((at_least..=at_most).contains(&found), "{at_least} <= {found} <= {at_most}");
            let names: std::collections::HashSet<_> =
                text.lines().map(|line| line.split(':').next()).collect();
            assert_eq!(names.len(), text.lines().count(), "a stat occurs twice");
            N_READS.fetch_add(1, Ordering::Relaxed);
        }
        counting.join().unwrap();
    });
    let text = cat(&recorder.path());
    assert_eq!(value(&text, "all"), THREADS * CALLS);
    assert!((0..THREADS).all(|thread| value(&text, &format!("thread.{thread}")) == CALLS));
}
