//! `prometheus-client`, with the default buckets of the other crates.
//!
//! A counter is a relaxed `fetch_add`. A family finds it in a hash map under a read lock, by a label set that owns its
//! strings. A histogram is a mutex.

#![allow(clippy::unwrap_used, reason = "a panic fails the benchmark")]

use std::sync::LazyLock;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram};
use prometheus_client::registry::Registry;

use crate::contender::{Contender, Contenders, Kind, Measurement, ReadBack};
use crate::inputs::{N_VALUES, SECONDS, names, repeat, repeat_names, repeat_values};
use crate::text;

const NAME: &str = "prometheus-client";

type Labels = [(&'static str, String); 1];

pub(crate) fn contenders(measurement: Measurement) -> Contenders {
    Ok(vec![match measurement {
        Measurement::CounterHandle => {
            let counter = <Counter>::default();
            let same_counter = counter.clone();
            let run = move |n_calls| repeat(n_calls, || _ = counter.inc());
            Contender::counting(Kind::Peer, NAME, "Counter::inc()", run, move || same_counter.get() as f64)
        }
        Measurement::CounterLiteral => {
            static LITERAL: LazyLock<Counter> = LazyLock::new(Counter::default);
            let before = LITERAL.get();
            let run = |n_calls| repeat(n_calls, || _ = LITERAL.inc());
            let count = move || (LITERAL.get() - before) as f64;
            Contender::counting(Kind::Peer, NAME, "static LazyLock<Counter>, inc()", run, count)
        }
        Measurement::CounterRunTime => {
            let counters = Family::<Labels, Counter>::default();
            let (names, same_names, same_counters) = (names(), names(), counters.clone());
            let run = move |n_calls| {
                repeat_names(n_calls, &names, |name| _ = counters.get_or_create(&label(name.clone())).inc());
            };
            let get = move |name: &String| same_counters.get_or_create(&label(name.clone())).get() as f64;
            let count = move || same_names.iter().map(&get).sum();
            let path = "Family::get_or_create(&[(\"name\", name.clone())]).inc()";
            Contender::counting(Kind::Peer, NAME, path, run, count)
        }
        Measurement::Sample => {
            let histogram = Histogram::new(text::BUCKETS);
            let mut registry = Registry::default();
            registry.register("sample", "help", histogram.clone());
            let run = move |n_calls| repeat_values(n_calls, &SECONDS, |seconds| histogram.observe(seconds));
            let count = move || {
                let mut text = String::new();
                encode(&mut text, &registry).unwrap();
                text::sum_of(text.as_bytes(), "sample_count ")
            };
            Contender::counting(Kind::Peer, NAME, "Histogram::observe(x)", run, count)
        }
        Measurement::Set => {
            let gauge = Gauge::<f64, AtomicU64>::default();
            let same_gauge = gauge.clone();
            let run = move |n_calls| repeat_values(n_calls, &SECONDS, |seconds| _ = gauge.set(seconds));
            let read_back = move |_| ReadBack { found: same_gauge.get(), expected: SECONDS[N_VALUES - 1] };
            Contender::new(Kind::Peer, NAME, "Gauge::<f64, AtomicU64>::set(x)", run, read_back)
        }
        Measurement::Text => whole_text(),
    }])
}

fn label(name: String) -> Labels {
    [("name", name)]
}

fn whole_text() -> Contender {
    let counters = Family::<Labels, Counter>::default();
    let histograms = Family::<Labels, Histogram>::new_with_constructor(|| Histogram::new(text::BUCKETS));
    let mut registry = Registry::default();
    registry.register("requests", "help", counters.clone());
    registry.register("latency", "help", histograms.clone());
    for idx in 0..text::N_COUNTERS {
        counters.get_or_create(&label(text::counter_name(idx, '.'))).inc_by(text::counter_value(idx));
    }
    let record = move || {
        for idx in 0..text::N_SERIES {
            let histogram = histograms.get_or_create(&label(text::series_name(idx, '.')));
            text::fresh_samples().for_each(|sample| histogram.observe(sample));
        }
    };
    let render = move |mut text: String| {
        text.clear();
        encode(&mut text, &registry).unwrap();
        text
    };
    text::contender(Kind::Peer, NAME, "encode(..), two families", render, record)
}
