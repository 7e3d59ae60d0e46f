//! Two threads that burst into one series: each gives its share of the window.
//!
//! One test, in a process of its own: with other tests' threads beside, these might find no shard.

use std::sync::Barrier;
use std::thread;

use statvent::{Registry, record};

static STATS: Registry<2, 2, 0, 4> = Registry::new();

fn mean() -> f64 {
    let mut mean = f64::NAN;
    STATS.for_each(|name, value| {
        if name == b"burst.mean" {
            mean = value.as_f64();
        }
    });
    mean
}

#[test]
fn of_two_bursts_each_gives_its_share_and_old_samples_leave() {
    let (recorded, read) = (&Barrier::new(3), &Barrier::new(3));
    let mut mean_of_both = f64::NAN;
    thread::scope(|scope| {
        for (value, n_samples) in [(1, 90), (2, 30)] {
            scope.spawn(move || {
                // The first one goes to the shared window: the thread has no shard yet.
                record!(STATS, "burst.{0}", value);
                (0..n_samples).for_each(|_| record!(STATS, "burst.{0}", value));
                recorded.wait();
                read.wait();
                if value == 2 {
                    (0..100).for_each(|_| record!(STATS, "burst.{0}", 5));
                }
            });
        }
        recorded.wait();
        mean_of_both = mean();
        read.wait();
    });
    assert!((mean_of_both - 1.25).abs() < 0.03, "three parts of ones, one of twos: {mean_of_both}");
    assert!((mean() - 5.0).abs() < 1e-9, "only the newest are left");
}
