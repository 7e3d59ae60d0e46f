//! Threads that burst into one series: each gives its share of the window.
//!
//! One test, in a process of its own: with other tests' threads beside, these might find no shard.
//! - Each gives in proportion, also where one recorded more than a window holds.
//! - None of many is left out, whether it has a shard of its own or not.
//! - What is old leaves.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Barrier;
use std::thread;

use statvent::{Registry, record};

static STATS: Registry<2, 2, 0, 32> = Registry::new();

fn mean() -> f64 {
    let mut mean = f64::NAN;
    STATS.for_each(|name, value| {
        if name == b"burst.mean" {
            mean = value.as_f64();
        }
    });
    mean
}

/// Has one thread for each burst of so many times a value, all of them alive when the series is read. The first ones
/// have the shards.
fn mean_after_bursts(bursts: &[(usize, u32)]) -> f64 {
    let begun = &Barrier::new(2);
    let [go, recorded, read] = &[(); 3].map(|()| Barrier::new(bursts.len() + 1));
    thread::scope(|scope| {
        let burst = |&(n_samples, value): &(usize, u32)| {
            let thread = scope.spawn(move || {
                // The second one finds the shard, if there is one.
                (0..2).for_each(|_| record!(STATS, "burst.{0}", value));
                begun.wait();
                go.wait();
                (2..n_samples).for_each(|_| record!(STATS, "burst.{0}", value));
                recorded.wait();
                read.wait();
            });
            begun.wait();
            thread
        };
        let threads: Vec<_> = bursts.iter().map(burst).collect();
        go.wait();
        recorded.wait();
        let mean = mean();
        read.wait();
        // The end of the scope alone does not wait until they have given back their shards.
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        mean
    })
}

#[test]
fn of_several_bursts_each_gives_its_share_and_old_samples_leave() {
    let is_close =
        |found: f64, expected: f64| assert!((found - expected).abs() < 0.03, "{found}, not {expected}");
    is_close(mean_after_bursts(&[(90, 1), (30, 2)]), 1.25);
    is_close(mean_after_bursts(&[(30, 5), (100, 5)]), 5.0);
    is_close(mean_after_bursts(&[(100_000, 1), (100, 2)]), 1.0);
    is_close(mean_after_bursts(&[(1000, 1), (250, 2)]), 1.2);

    // Each of those that have a shard gives as much as the next one; together as much as those that have none.
    let many = |value| (0..32).map(move |_| (1000, value));
    let each: Vec<_> = (0..32).map(|value| (1000, value)).collect();
    assert!((mean_after_bursts(&each) - 15.5).abs() < 0.5);
    is_close(mean_after_bursts(&many(1).chain(many(3)).collect::<Vec<_>>()), 2.0);
}
