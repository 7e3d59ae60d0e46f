//! `metriken` with `metriken-exposition`, with statics that its macro registers.
//!
//! A counter is a relaxed `fetch_add`. A sharded counter adds in the calling thread's own cache line, also with a locked
//! instruction. A histogram counts integers in fine buckets, so latencies are in microseconds here; its text contains
//! percentiles.

use metriken::{
    AtomicCounterHistogram, Counter, DynBoxedMetric, Gauge, MetricBuilder, ShardedCounterGroup,
    ShardedCounterHistogram, metric,
};
use metriken_exposition::{PrometheusOptions, prometheus_text};

use crate::contender::{Contender, Contenders, Kind, Measurement, ReadBack};
use crate::inputs::{MICROSECONDS, N_VALUES, repeat, repeat_values};
use crate::text;

const NAME: &str = "metriken";
const SHARDED: &str = "metriken, sharded";

/// The resolution in its documentation: an error of at most 1 % up to 2^64.
const RESOLUTION: (u8, u8) = (7, 64);

#[metric(name = "literal")]
static LITERAL: Counter = Counter::new();

#[metric(name = "sharded")]
static GROUP: ShardedCounterGroup = ShardedCounterGroup::new(8);

#[metric(name = "sample")]
static SAMPLE: AtomicCounterHistogram = AtomicCounterHistogram::new(RESOLUTION.0, RESOLUTION.1);

#[metric(name = "sample_sharded")]
static SHARDED_SAMPLE: ShardedCounterHistogram = ShardedCounterHistogram::new(RESOLUTION.0, RESOLUTION.1);

#[metric(name = "set")]
static GAUGE: Gauge = Gauge::new();

pub(crate) fn contenders(measurement: Measurement) -> Contenders {
    Ok(match measurement {
        Measurement::CounterHandle | Measurement::CounterLiteral => counters(),
        Measurement::CounterRunTime => {
            return Err("metrics are found by no name; a program keeps the handles");
        }
        Measurement::Sample => samples(),
        Measurement::Set => {
            let run = |n_calls| repeat_values(n_calls, &MICROSECONDS, |value| _ = GAUGE.set(value as i64));
            let read_back =
                |_| ReadBack { found: GAUGE.value() as f64, expected: MICROSECONDS[N_VALUES - 1] as f64 };
            vec![Contender::new(Kind::Peer, NAME, "#[metric] static Gauge, set(x as i64)", run, read_back)]
        }
        Measurement::Text => vec![whole_text()],
    })
}

fn counters() -> Vec<Contender> {
    let before = LITERAL.value();
    let run = |n_calls| repeat(n_calls, || _ = LITERAL.increment());
    let count = move || (LITERAL.value() - before) as f64;
    let shared = Contender::counting(Kind::Peer, NAME, "#[metric] static Counter, increment()", run, count);

    let in_group = || GROUP.value(0).unwrap_or(0) as f64;
    let before = in_group();
    let run = |n_calls| repeat(n_calls, || _ = GROUP.increment(0));
    let path = "#[metric] static ShardedCounterGroup, increment(0)";
    vec![shared, Contender::counting(Kind::Peer, SHARDED, path, run, move || in_group() - before)]
}

fn samples() -> Vec<Contender> {
    let run = |n_calls| repeat_values(n_calls, &MICROSECONDS, |value| _ = SAMPLE.increment(value));
    let path = "#[metric] static AtomicCounterHistogram, increment(x as u64)";
    let shared = Contender::counting(Kind::Peer, NAME, path, run, || {
        SAMPLE.load().map_or(0.0, |histogram| sum(histogram.as_slice()))
    });

    let run = |n_calls| repeat_values(n_calls, &MICROSECONDS, |value| _ = SHARDED_SAMPLE.increment(value));
    let path = "#[metric] static ShardedCounterHistogram, increment(x as u64)";
    let sharded = Contender::counting(Kind::Peer, SHARDED, path, run, || {
        SHARDED_SAMPLE.load().map_or(0.0, |histogram| sum(histogram.as_slice()))
    });
    vec![shared, sharded]
}

fn sum(buckets: &[u64]) -> f64 {
    buckets.iter().sum::<u64>() as f64
}

fn whole_text() -> Contender {
    let counters: Vec<DynBoxedMetric<Counter>> = (0..text::N_COUNTERS)
        .map(|idx| {
            MetricBuilder::new(text::counter_name(idx, '.'))
                .build(Counter::with_value(text::counter_value(idx)))
        })
        .collect();
    let histograms: Vec<DynBoxedMetric<AtomicCounterHistogram>> = (0..text::N_SERIES)
        .map(|idx| {
            MetricBuilder::new(text::series_name(idx, '.'))
                .build(AtomicCounterHistogram::new(RESOLUTION.0, RESOLUTION.1))
        })
        .collect();
    let record = move || {
        for histogram in &histograms {
            text::fresh_samples().for_each(|sample| _ = histogram.increment((sample * 1e6) as u64));
        }
    };
    let options = PrometheusOptions::default().with_percentiles(vec![0.5, 0.95, 0.99, 1.0]);
    let render = move |_: String| {
        // Counters stay registered while they live; the closure keeps them alive.
        debug_assert_eq!(counters.len(), text::N_COUNTERS);
        prometheus_text(&options)
    };
    text::contender(Kind::Peer, NAME, "prometheus_text(..), percentiles", render, record)
}
