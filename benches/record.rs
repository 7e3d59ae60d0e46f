//! Time of a recording call after its first use, of a snapshot, and of parsing one line.
//!
//! Each benchmark asserts its result, so it cannot measure work that was not done.

#![allow(missing_docs, reason = "criterion's macros generate undocumented functions")]
#![allow(clippy::unwrap_used, reason = "a panic fails the benchmark")]

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use statvent::line::{Number, parse_line};
use statvent::{Registry, Value, incr, record, set};

fn int(name: &str) -> i64 {
    match statvent::get(name) {
        Some(Value::Int(int)) => int,
        other => panic!("{name} is {other:?}"),
    }
}

/// Runs `work` `n_rounds` times on each of `n_threads` concurrent threads. Returns the time of the slowest thread.
fn on_threads(n_threads: usize, n_rounds: u64, work: impl Fn() + Sync) -> Duration {
    let barrier = std::sync::Barrier::new(n_threads);
    let (barrier, work) = (&barrier, &work);
    thread::scope(|scope| {
        let run = move || {
            barrier.wait();
            let start = Instant::now();
            for _ in 0..n_rounds {
                work();
            }
            start.elapsed()
        };
        let threads: Vec<_> = (0..n_threads).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).max().unwrap()
    })
}

fn calls(c: &mut Criterion) {
    for n_threads in [1, 2] {
        let mut group = c.benchmark_group(format!("{n_threads} threads"));
        let mut n_calls = 0;
        let before = statvent::get("literal").map_or(0, |_| int("literal"));
        group.bench_function("incr! literal", |b| {
            b.iter_custom(|n_rounds| {
                n_calls += n_rounds as i64 * n_threads as i64;
                on_threads(n_threads, n_rounds, || incr!("literal", black_box(1)))
            });
        });
        assert_eq!(statvent::get("literal").map_or(0, |_| int("literal")) - before, n_calls);

        let names: Vec<String> = (0..200).map(|idx| format!("service.request.{idx:04}")).collect();
        let (mut n_calls, before) = (0, sum_of(&names));
        group.bench_function("incr run-time name, 200 names", |b| {
            b.iter_custom(|n_rounds| {
                n_calls += n_rounds as i64 * n_threads as i64 * 200;
                on_threads(n_threads, n_rounds, || {
                    names.iter().for_each(|name| statvent::incr(black_box(name), 1));
                }) / 200
            });
        });
        assert_eq!(sum_of(&names) - before, n_calls);

        group.bench_function("set! float", |b| {
            b.iter_custom(|n_rounds| on_threads(n_threads, n_rounds, || set!("gauge", black_box(1.5))));
        });
        assert!([None, Some(Value::Float(1.5))].contains(&statvent::get("gauge")));

        group.bench_function("record!", |b| {
            b.iter_custom(|n_rounds| {
                on_threads(n_threads, n_rounds, || record!("series.{0}", black_box(2.5)))
            });
        });
        group.finish();
    }
    let mut samples = Vec::new();
    statvent::GLOBAL.for_each(|name, value| {
        if name.starts_with(b"series.") {
            samples.push(value);
        }
    });
    assert!(samples.is_empty() || samples == [Value::Float(2.5); 5]);
}

fn sum_of(names: &[String]) -> i64 {
    names.iter().filter(|name| statvent::get(name).is_some()).map(|name| int(name)).sum()
}

fn snapshot(c: &mut Criterion) {
    const N_LINES: usize = 1000 + 20 * 5;
    static STATS: Registry<1024, 32, 65536, 32> = Registry::new();
    for idx in 0..1000 {
        STATS.set(format!("service.request.{idx:04}"), idx * 1_000_003);
    }
    for series in 0..20 {
        for sample in 0..100 {
            STATS.record(format!("latency.{series:02}.{{0}}"), f64::from(sample * 37 % 100) / 8.0);
        }
    }
    let mut text = vec![0; 65536];
    let mut group = c.benchmark_group("snapshot");
    group.throughput(Throughput::Elements(N_LINES as u64));
    group.bench_function("1000 integers and 20 series", |b| {
        b.iter(|| {
            let n_bytes = STATS.snapshot().fill(black_box(&mut text)).unwrap();
            assert!(n_bytes > 30_000);
        });
    });
    group.finish();
    let n_bytes = STATS.snapshot().fill(&mut text).unwrap();
    let lines: Vec<_> = text[..n_bytes]
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| parse_line(line).unwrap())
        .collect();
    assert_eq!(lines.len(), N_LINES);
    assert_eq!(lines[999].value, Number::Int(999 * 1_000_003));
}

fn parse(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse a line");
    for (kind, line, expected) in [
        ("integer", "service.request.0042: 123456\n", Number::Int(123_456)),
        ("float", "service.request.0042: 123.456\n", Number::Float(123.456)),
    ] {
        group.bench_function(kind, |b| b.iter(|| parse_line(black_box(line.as_bytes())).unwrap().value));
        assert_eq!(parse_line(line.as_bytes()).unwrap().value, expected);
    }
    group.finish();
}

criterion_group!(benches, calls, snapshot, parse);
criterion_main!(benches);
