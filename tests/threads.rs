//! Concurrent threads that record, start and end: totals are exact and no shard leaks.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

use std::cell::Cell;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use statvent::{Registry, Value, incr, record, set};

/// Four threads have a shard each; further threads share the cell of each stat.
type Sharded = Registry<32, 2, 1024, 4>;

fn int<const A: usize, const B: usize, const C: usize, const D: usize>(
    stats: &Registry<A, B, C, D>,
    name: &str,
) -> i64 {
    match stats.get(name) {
        Some(Value::Int(int)) => int,
        other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn eight_threads_with_four_shards_and_a_concurrent_reader_are_exact() {
    const N_THREADS: i64 = 8;
    const N_ROUNDS: i64 = 20_000;
    static STATS: Sharded = Registry::new();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut last, mut n_snapshots) = (0, 0);
            while !ended.load(Ordering::Acquire) || n_snapshots == 0 {
                STATS.for_each(|name, value| {
                    if name == b"total" {
                        let Value::Int(total) = value else { panic!("{value:?}") };
                        assert!(total >= last, "went back from {last} to {total}");
                        last = total;
                    }
                });
                n_snapshots += 1;
            }
            last
        });
        // The threads of each round take over the shards of the round before.
        for _ in 0..4 {
            thread::scope(|scope| {
                for thread_idx in 0..N_THREADS {
                    scope.spawn(move || {
                        // Half of the threads end half-way.
                        let n_rounds = if thread_idx % 2 == 0 { N_ROUNDS } else { N_ROUNDS / 2 };
                        let handle = STATS.counter("total");
                        for round in 0..n_rounds {
                            incr!(STATS, "total");
                            STATS.incr("total", 1);
                            handle.incr(1);
                            STATS.incr(format!("name {}", round % 10), 1);
                            STATS.incr("float", 0.5);
                            record!(STATS, "sample.{0}", 1);
                        }
                    });
                }
            });
        }
        ended.store(true, Ordering::Release);
        assert!(reader.join().unwrap() > 0);
    });
    let n_calls = 4 * (N_THREADS / 2) * (N_ROUNDS + N_ROUNDS / 2);
    assert_eq!(int(&STATS, "total"), 3 * n_calls);
    for name in 0..10 {
        assert_eq!(int(&STATS, &format!("name {name}")), n_calls / 10);
    }
    assert_eq!(STATS.get("float"), Some(Value::Float(n_calls as f64 / 2.0)));
}

#[test]
fn threads_that_end_hand_their_shards_to_later_threads() {
    const N_THREADS: i64 = 20_000;
    static STATS: Sharded = Registry::new();
    let visit = || {
        for _ in 0..N_THREADS / 2 {
            thread::spawn(|| {
                incr!(STATS, "visits");
                incr!(STATS, "visits");
            })
            .join()
            .unwrap();
        }
    };
    thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(visit))));
    assert_eq!(int(&STATS, "visits"), 2 * N_THREADS);
}

#[test]
fn a_set_after_increments_by_many_threads_is_read_back_exactly() {
    static STATS: Sharded = Registry::new();
    let count = || {
        for _ in 0..100 {
            incr!(STATS, "int");
            STATS.incr("float", 0.1);
        }
    };
    for round in 0..3 {
        thread::scope(|scope| (0..6).for_each(|_| drop(scope.spawn(count))));
        set!(STATS, "int", round);
        assert_eq!(STATS.get("int"), Some(Value::Int(round)));
        set!(STATS, "float", 0.3);
        assert_eq!(STATS.get("float"), Some(Value::Float(0.3)));
        incr!(STATS, "int", 7);
        assert_eq!(STATS.get("int"), Some(Value::Int(round + 7)));
    }
}

#[test]
fn a_sharded_stat_becomes_a_float_permanently_without_losing_a_count() {
    static STATS: Sharded = Registry::new();
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    incr!(STATS, "mixed");
                    incr!(STATS, "mixed", 0.5);
                }
            });
        }
    });
    assert_eq!(STATS.get("mixed"), Some(Value::Float(9000.0)));
    set!(STATS, "mixed", 2);
    assert_eq!(STATS.get("mixed"), Some(Value::Float(2.0)));
}

#[test]
fn a_thread_records_in_the_destructors_of_its_own_variables() {
    static STATS: Sharded = Registry::new();
    struct Last;
    impl Drop for Last {
        fn drop(&mut self) {
            incr!(STATS, "ended");
            incr!(STATS, "ended");
            record!(STATS, "end.{0}", 1);
        }
    }
    thread_local! {
        static FIRST: Cell<Option<Last>> = const { Cell::new(None) };
        static SECOND: Cell<Option<Last>> = const { Cell::new(None) };
    }
    for _ in 0..50 {
        thread::spawn(|| {
            FIRST.set(Some(Last));
            incr!(STATS, "begun");
            incr!(STATS, "begun");
            SECOND.set(Some(Last));
        })
        .join()
        .unwrap();
    }
    assert_eq!((int(&STATS, "begun"), int(&STATS, "ended")), (100, 200));
}

#[test]
fn more_threads_than_shards_share_one() {
    const N_THREADS: i64 = 40;
    let barrier = Barrier::new(N_THREADS as usize);
    thread::scope(|scope| {
        for _ in 0..N_THREADS {
            scope.spawn(|| {
                incr!("threads.many");
                barrier.wait();
                for _ in 0..1000 {
                    incr!("threads.many");
                }
                barrier.wait();
            });
        }
    });
    assert_eq!(int(&statvent::GLOBAL, "threads.many"), N_THREADS * 1001);
}

#[test]
fn a_registry_on_the_heap_has_shards_too() {
    for round in 0..100 {
        let stats: Box<Sharded> = Box::default();
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| (0..10).for_each(|_| stats.incr("here", 1)));
            }
        });
        assert_eq!(int(&stats, "here"), 30, "round {round}");
    }
}

#[test]
fn setting_a_float_discards_everything_added_before() {
    static STATS: Registry<8, 0, 64, 32> = Registry::new();
    let rounds = [
        (f64::INFINITY, 1.0, 10),
        (f64::NAN, 1.0, 10),
        (1e17, 1.0, 5),
        (f64::INFINITY, f64::NEG_INFINITY, 1),
    ];
    for (idx, (before, after, n_times)) in rounds.into_iter().enumerate() {
        // A thread's first increment goes to the shared word, the second one to its own shard.
        let name = format!("stat {idx}");
        STATS.incr(&name, before);
        STATS.incr(&name, before);
        STATS.set(&name, 0.0);
        (0..n_times).for_each(|_| STATS.incr(&name, after));
        assert_eq!(STATS.get(&name), Some(Value::Float(after * f64::from(n_times))), "after {before}");
    }
}

#[test]
fn integers_become_a_float_by_their_exact_sum() {
    static STATS: Registry<8, 0, 64, 32> = Registry::new();
    incr!(STATS, "set", -10);
    incr!(STATS, "set", -10);
    set!(STATS, "set", i64::MAX);
    incr!(STATS, "set", 0.5);
    assert_eq!(STATS.get("set"), Some(Value::Float(i64::MAX as f64)));

    // Neither the sum nor the offset of the setting is exact as a float.
    for _ in 0..2 {
        incr!(STATS, "large", 1_000_000_000_000_000_001_i64);
    }
    set!(STATS, "large", 0);
    incr!(STATS, "large", 3);
    incr!(STATS, "large", 0.5);
    (0..50).for_each(|_| incr!(STATS, "large", 1));
    assert_eq!(STATS.get("large"), Some(Value::Float(53.5)));
}

/// The mean of a series in a snapshot.
fn mean_of(stats: &Sharded, name: &[u8]) -> f64 {
    let mut mean = f64::NAN;
    stats.for_each(|found, value| {
        if found == name {
            mean = value.as_f64();
        }
    });
    mean
}

#[test]
fn a_window_holds_the_last_hundred_samples_of_one_thread() {
    static STATS: Sharded = Registry::new();
    for n_samples in [50, 100, 1000] {
        (1..=n_samples).for_each(|sample| record!(STATS, "s.{0}", sample));
        let expected = match n_samples {
            50 => 25.5,
            100 => 50.5,
            _ => 950.5,
        };
        assert_eq!(mean_of(&STATS, b"s.mean"), expected, "after {n_samples}");
    }
}
