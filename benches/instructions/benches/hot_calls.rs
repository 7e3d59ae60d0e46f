//! Instruction counts of the hot calls: each benchmark makes one call a thousand times.
//!
//! `bin/instructions` runs it, divides by a thousand and keeps the record. The first use of a call comes before the count
//! begins; results are checked after it ends. The count includes the loop around the call, two or three instructions.
//! Calls of other crates are in `benches/peers`.

#![allow(clippy::unwrap_used, reason = "a panic fails the benchmark")]

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group, main};
use statvent::line::parse_line;
use statvent::{Counter, Registry, Value, incr, record, set};

/// The number of calls, of lines in the snapshot and of lines to parse. Every count is divided by it.
const N_CALLS: usize = 1000;

/// Holds 900 integers and 20 series of five lines each.
static STATS: Registry<1024, 32, 65536, 32> = Registry::new();

/// Makes the calls one after the other. The barrier keeps the compiler from merging them.
#[inline(always)]
fn repeat(mut call: impl FnMut(usize)) {
    for idx in 0..N_CALLS {
        call(idx);
        black_box(());
    }
}

#[inline(never)]
fn literal() {
    repeat(|_| incr!("literal"));
}

#[inline(never)]
fn literal_float() {
    repeat(|_| incr!("literal.float", 0.5));
}

#[inline(never)]
fn handle(counter: Counter<'static>) {
    repeat(|_| counter.incr(1));
}

#[inline(never)]
fn run_time(names: &[String]) {
    repeat(|idx| statvent::incr(&names[idx % names.len()], 1));
}

#[inline(never)]
fn int() {
    repeat(|idx| set!("int", idx));
}

#[inline(never)]
fn float(values: &[f64]) {
    repeat(|idx| set!("float", values[idx]));
}

#[inline(never)]
fn sample(values: &[f64]) {
    repeat(|idx| record!("series.{0}", values[idx]));
}

fn literal_before() {
    literal();
}

fn literal_after(_: ()) {
    assert_eq!(statvent::get("literal"), Some(Value::Int(2 * N_CALLS as i64)));
}

fn literal_float_before() {
    literal_float();
}

fn literal_float_after(_: ()) {
    assert_eq!(statvent::get("literal.float"), Some(Value::Float(N_CALLS as f64)));
}

fn handle_before() -> Counter<'static> {
    let counter = statvent::counter("handle");
    handle(counter);
    counter
}

fn handle_after(_: ()) {
    assert_eq!(statvent::get("handle"), Some(Value::Int(2 * N_CALLS as i64)));
}

fn run_time_before() -> Vec<String> {
    let names: Vec<_> = (0..200).map(|idx| format!("service.request.{idx:04}")).collect();
    run_time(&names);
    names
}

fn run_time_after(names: Vec<String>) {
    for name in names {
        assert_eq!(statvent::get(&name), Some(Value::Int(2 * N_CALLS as i64 / 200)), "{name}");
    }
}

fn int_before() {
    int();
    statvent::set("int", 0);
}

fn int_after(_: ()) {
    assert_eq!(statvent::get("int"), Some(Value::Int(N_CALLS as i64 - 1)));
}

fn values() -> Vec<f64> {
    (1..=N_CALLS).map(|idx| idx as f64 / 8.0).collect()
}

fn float_before() -> Vec<f64> {
    float(&values());
    statvent::set("float", 0.5);
    values()
}

fn float_after(_: Vec<f64>) {
    assert_eq!(statvent::get("float"), Some(Value::Float(N_CALLS as f64 / 8.0)));
}

fn sample_before() -> Vec<f64> {
    sample(&values());
    values()
}

fn sample_after(_: Vec<f64>) {
    let mut largest = None;
    statvent::GLOBAL.for_each(|name, value| {
        if name == b"series.100th" {
            largest = Some(value);
        }
    });
    assert_eq!(largest, Some(Value::Float(N_CALLS as f64 / 8.0)));
}

/// Fills the registry, reads it once, and records fresh samples. Returns a buffer that holds its text.
fn snapshot_before() -> Vec<u8> {
    let record_fresh = || {
        for series in 0..20 {
            let series = STATS.series(format!("latency.{series:02}.{{0}}"));
            (0..100).for_each(|sample| series.record(f64::from(sample * 37 % 100 + 1) / 128.0));
        }
    };
    (0..N_CALLS as i64 - 100)
        .for_each(|idx| STATS.incr(format!("service.request.{idx:04}"), idx * 1_000_003));
    record_fresh();
    let mut text = vec![0; 65536];
    STATS.snapshot().fill(&mut text).unwrap();
    record_fresh();
    text
}

fn snapshot_after((n_bytes, text): (usize, Vec<u8>)) {
    let lines = text[..n_bytes].split_inclusive(|byte| *byte == b'\n').map(|line| parse_line(line).unwrap());
    assert_eq!(lines.count(), N_CALLS);
}

fn lines() -> Vec<String> {
    let line = |idx| match idx % 2 {
        0 => format!("service.request.{idx:04}: {}\n", idx * 1_000_003),
        _ => format!("latency.{idx:04}.median: {}\n", idx as f64 / 128.0),
    };
    (0..N_CALLS).map(line).collect()
}

fn lines_after(n_read: usize) {
    assert_eq!(n_read, N_CALLS);
}

#[library_benchmark]
#[bench::second_use(setup = literal_before, teardown = literal_after)]
fn incr_literal(_: ()) {
    literal();
}

#[library_benchmark]
#[bench::second_use(setup = literal_float_before, teardown = literal_float_after)]
fn incr_float(_: ()) {
    literal_float();
}

#[library_benchmark]
#[bench::second_use(setup = handle_before, teardown = handle_after)]
fn incr_handle(counter: Counter<'static>) {
    handle(counter);
}

#[library_benchmark]
#[bench::second_use(setup = run_time_before, teardown = run_time_after)]
fn incr_run_time(names: Vec<String>) -> Vec<String> {
    run_time(&names);
    names
}

#[library_benchmark]
#[bench::second_use(setup = int_before, teardown = int_after)]
fn set_int(_: ()) {
    int();
}

#[library_benchmark]
#[bench::second_use(setup = float_before, teardown = float_after)]
fn set_float(values: Vec<f64>) -> Vec<f64> {
    float(&values);
    values
}

#[library_benchmark]
#[bench::second_use(setup = sample_before, teardown = sample_after)]
fn record_sample(values: Vec<f64>) -> Vec<f64> {
    sample(&values);
    values
}

#[library_benchmark]
#[bench::second_use(setup = snapshot_before, teardown = snapshot_after)]
fn snapshot_line(mut text: Vec<u8>) -> (usize, Vec<u8>) {
    (STATS.snapshot().fill(&mut text).unwrap(), text)
}

#[library_benchmark]
#[bench::mixed(setup = lines, teardown = lines_after)]
fn parse_lines(lines: Vec<String>) -> usize {
    let n_read = lines.iter().filter(|line| parse_line(black_box(line.as_bytes())).is_ok()).count();
    std::mem::forget(lines);
    n_read
}

library_benchmark_group!(
    name = hot_calls,
    benchmarks = [
        incr_literal,
        incr_float,
        incr_handle,
        incr_run_time,
        set_int,
        set_float,
        record_sample,
        snapshot_line,
        parse_lines
    ]
);
main!(library_benchmark_groups = hot_calls);
