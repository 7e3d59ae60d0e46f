//! Bursts of samples from many threads into one series: each thread gets its share of the window.
//!
//! One test in its own process: threads of other tests could use up the shards.
//! - Shares are proportional to the samples, also if one thread records more samples than a window holds.
//! - Each of many threads gets a share, with or without its own shard.
//! - Old samples leave the window.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

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

/// Records each burst, a number of equal samples, in its own thread. All threads are alive when the series is read; the
/// first ones have the shards.
fn mean_after_bursts(bursts: &[(usize, u32)]) -> f64 {
    let begun = &Barrier::new(2);
    let [go, recorded, read] = &[(); 3].map(|()| Barrier::new(bursts.len() + 1));
    thread::scope(|scope| {
        let burst = |&(n_samples, value): &(usize, u32)| {
            let thread = scope.spawn(move || {
                // A thread gets its shard, if one is free, with its second sample.
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
        // A scope ends before its threads have returned their shards, so join them.
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        mean
    })
}

#[test]
fn each_burst_gets_its_share_and_old_samples_leave() {
    let is_close = |found: f64, expected: f64| {
        assert!((found - expected).abs() < 0.03, "found {found}, expected {expected}")
    };
    is_close(mean_after_bursts(&[(90, 1), (30, 2)]), 1.25);
    is_close(mean_after_bursts(&[(30, 5), (100, 5)]), 5.0);
    is_close(mean_after_bursts(&[(100_000, 1), (100, 2)]), 1.0);
    is_close(mean_after_bursts(&[(1000, 1), (250, 2)]), 1.2);

    // Threads with a shard get equal shares. All of them together get as much as all threads without a shard.
    let many = |value| (0..32).map(move |_| (1000, value));
    let each: Vec<_> = (0..32).map(|value| (1000, value)).collect();
    assert!((mean_after_bursts(&each) - 15.5).abs() < 0.5);
    is_close(mean_after_bursts(&many(1).chain(many(3)).collect::<Vec<_>>()), 2.0);
}
