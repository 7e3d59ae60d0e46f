//! `prometheus`, with the default buckets of its histograms.
//!
//! A counter is a relaxed `fetch_add`; by label it is found in a map under a read lock. A histogram searches its buckets,
//! adds to two atomics, and adds to a float with compare-and-swap. The local variants add to plain memory of one thread.
//! Readers see their counts only after a flush, which happens once per batch here.

#![allow(clippy::unwrap_used, reason = "a panic fails the benchmark")]

use std::hint::black_box;
use std::sync::LazyLock;

use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, TextEncoder,
};

use crate::contender::{Contender, Contenders, Kind, Measurement, ReadBack};
use crate::inputs::{N_VALUES, SECONDS, names, repeat, repeat_names, repeat_values};
use crate::text;

const NAME: &str = "prometheus";
const LOCAL: &str = "prometheus, local";

pub(crate) fn contenders(measurement: Measurement) -> Contenders {
    Ok(match measurement {
        Measurement::CounterHandle => counter_handles(),
        Measurement::CounterLiteral => {
            static LITERAL: LazyLock<IntCounter> =
                LazyLock::new(|| prometheus::register_int_counter!("literal", "help").unwrap());
            let before = LITERAL.get();
            let run = |n_calls| repeat(n_calls, || LITERAL.inc());
            let count = move || (LITERAL.get() - before) as f64;
            vec![Contender::counting(Kind::Peer, NAME, "static LazyLock<IntCounter>, inc()", run, count)]
        }
        Measurement::CounterRunTime => {
            let counters = IntCounterVec::new(Opts::new("run_time", "help"), &["name"]).unwrap();
            let (names, same_names, same_counters) = (names(), names(), counters.clone());
            let run = move |n_calls| {
                repeat_names(n_calls, &names, |name| counters.with_label_values(&[name]).inc());
            };
            let get = move |name: &String| same_counters.with_label_values(&[name]).get() as f64;
            let count = move || same_names.iter().map(&get).sum();
            let path = "IntCounterVec::with_label_values(&[name]).inc()";
            vec![Contender::counting(Kind::Peer, NAME, path, run, count)]
        }
        Measurement::Sample => samples(),
        Measurement::Set => {
            let gauge = Gauge::new("set", "help").unwrap();
            let same_gauge = gauge.clone();
            let run = move |n_calls| repeat_values(n_calls, &SECONDS, |seconds| gauge.set(seconds));
            let read_back = move |_| ReadBack { found: same_gauge.get(), expected: SECONDS[N_VALUES - 1] };
            vec![Contender::new(Kind::Peer, NAME, "Gauge::set(x)", run, read_back)]
        }
        Measurement::Text => vec![whole_text()],
    })
}

fn counter_handles() -> Vec<Contender> {
    let counter = IntCounter::new("handle", "help").unwrap();
    let same_counter = counter.clone();
    let run = move |n_calls| repeat(n_calls, || counter.inc());
    let shared =
        Contender::counting(Kind::Peer, NAME, "IntCounter::inc()", run, move || same_counter.get() as f64);

    let counter = IntCounter::new("local", "help").unwrap();
    let same_counter = counter.clone();
    let run = move |n_calls| {
        let local = counter.local();
        // The address escapes here, so the compiler cannot keep the count in a register.
        black_box(&local);
        repeat(n_calls, || local.inc());
        local.flush();
    };
    let path = "LocalIntCounter::inc(), flushed by hand";
    let local = Contender::counting(Kind::ManualFlush, LOCAL, path, run, move || same_counter.get() as f64);
    vec![shared, local]
}

fn samples() -> Vec<Contender> {
    let histogram = || Histogram::with_opts(HistogramOpts::new("sample", "help")).unwrap();
    let shared = histogram();
    let same_shared = shared.clone();
    let run = move |n_calls| repeat_values(n_calls, &SECONDS, |seconds| shared.observe(seconds));
    let count = move || same_shared.get_sample_count() as f64;
    let shared = Contender::counting(Kind::Peer, NAME, "Histogram::observe(x)", run, count);

    let histogram = histogram();
    let same_histogram = histogram.clone();
    let run = move |n_calls| {
        let local = histogram.local();
        black_box(&local);
        repeat_values(n_calls, &SECONDS, |seconds| local.observe(seconds));
        local.flush();
    };
    let count = move || same_histogram.get_sample_count() as f64;
    let path = "LocalHistogram::observe(x), flushed by hand";
    vec![shared, Contender::counting(Kind::ManualFlush, LOCAL, path, run, count)]
}

fn whole_text() -> Contender {
    let registry = Registry::new();
    let counters = IntCounterVec::new(Opts::new("requests", "help"), &["name"]).unwrap();
    let histograms = HistogramVec::new(HistogramOpts::new("latency", "help"), &["name"]).unwrap();
    registry.register(Box::new(counters.clone())).unwrap();
    registry.register(Box::new(histograms.clone())).unwrap();
    for idx in 0..text::N_COUNTERS {
        counters.with_label_values(&[&text::counter_name(idx, '.')]).inc_by(text::counter_value(idx));
    }
    let record = move || {
        for idx in 0..text::N_SERIES {
            let histogram = histograms.with_label_values(&[&text::series_name(idx, '.')]);
            text::fresh_samples().for_each(|sample| histogram.observe(sample));
        }
    };
    let render = move |mut text: String| {
        text.clear();
        TextEncoder::new().encode_utf8(&registry.gather(), &mut text).unwrap();
        text
    };
    text::contender(Kind::Peer, NAME, "TextEncoder::encode_utf8(..), two labelled families", render, record)
}
