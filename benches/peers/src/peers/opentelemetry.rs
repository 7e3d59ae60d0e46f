//! `opentelemetry` and its SDK with a manual reader, and `opentelemetry-prometheus` for the text.
//!
//! An instrument is bound once to attributes that are known in advance. The SDK calls this feature experimental; without
//! it, each call looks the attributes up. A bound counter is a virtual call and an atomic, a bound histogram is a mutex.
//! Attributes that come with the call are looked up in a hash map under a read lock.

#![allow(clippy::unwrap_used, reason = "a panic fails the benchmark")]

use std::sync::LazyLock;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, Meter, MeterProvider};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TextEncoder};

use crate::contender::{Contender, Contenders, Kind, Measurement, ReadBack};
use crate::inputs::{N_VALUES, SECONDS, names, repeat, repeat_names, repeat_values};
use crate::text;

const NAME: &str = "opentelemetry";

/// A meter, and the registry that its reader fills on request.
struct Sdk {
    registry: Registry,
    meter: Meter,
    /// Kept because its instruments record nothing after it is dropped.
    _provider: SdkMeterProvider,
}

pub(crate) fn contenders(measurement: Measurement) -> Contenders {
    let sdk = Sdk::new();
    Ok(vec![match measurement {
        Measurement::CounterHandle => {
            let counter = sdk.meter.u64_counter("handle").build().bind(&[]);
            let run = move |n_calls| repeat(n_calls, || counter.add(1));
            Contender::counting(Kind::Peer, NAME, "BoundCounter::add(1)", run, move || sdk.sum_of("handle"))
        }
        Measurement::CounterLiteral => {
            static SDK: LazyLock<Sdk> = LazyLock::new(Sdk::new);
            static LITERAL: LazyLock<BoundCounter<u64>> =
                LazyLock::new(|| SDK.meter.u64_counter("literal").build().bind(&[]));
            let before = SDK.sum_of("literal");
            let run = |n_calls| repeat(n_calls, || LITERAL.add(1));
            let count = move || SDK.sum_of("literal") - before;
            Contender::counting(Kind::Peer, NAME, "static LazyLock<BoundCounter>, add(1)", run, count)
        }
        Measurement::CounterRunTime => {
            let counter = sdk.meter.u64_counter("run_time").build();
            let names = names();
            let run = move |n_calls| {
                repeat_names(n_calls, &names, |name| counter.add(1, &[KeyValue::new("name", name.clone())]));
            };
            let path = "Counter::add(1, &[KeyValue::new(\"name\", name.clone())])";
            Contender::counting(Kind::Peer, NAME, path, run, move || sdk.sum_of("run_time"))
        }
        Measurement::Sample => {
            let histogram = sdk.meter.f64_histogram("sample").build().bind(&[]);
            let run = move |n_calls| repeat_values(n_calls, &SECONDS, |seconds| histogram.record(seconds));
            Contender::counting(Kind::Peer, NAME, "BoundHistogram::record(x)", run, move || {
                sdk.sum_of("sample_count")
            })
        }
        Measurement::Set => {
            let gauge = sdk.meter.f64_gauge("set").build().bind(&[]);
            let run = move |n_calls| repeat_values(n_calls, &SECONDS, |seconds| gauge.record(seconds));
            let read_back = move |_| ReadBack { found: sdk.sum_of("set"), expected: SECONDS[N_VALUES - 1] };
            Contender::new(Kind::Peer, NAME, "BoundGauge::record(x)", run, read_back)
        }
        Measurement::Text => whole_text(sdk),
    }])
}

impl Sdk {
    fn new() -> Self {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_target_info()
            .build()
            .unwrap();
        let provider = SdkMeterProvider::builder().with_reader(exporter).build();
        Self { registry, meter: provider.meter("peers"), _provider: provider }
    }

    fn render(&self, mut text: String) -> String {
        text.clear();
        TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text).unwrap();
        text
    }

    fn sum_of(&self, name: &str) -> f64 {
        text::sum_of(self.render(String::new()).as_bytes(), name)
    }
}

fn whole_text(sdk: Sdk) -> Contender {
    let counter = sdk.meter.u64_counter("requests").build();
    for idx in 0..text::N_COUNTERS {
        counter.add(text::counter_value(idx), &[KeyValue::new("name", text::counter_name(idx, '.'))]);
    }
    let histogram = sdk.meter.f64_histogram("latency").with_boundaries(text::BUCKETS.to_vec()).build();
    let series = |idx| histogram.bind(&[KeyValue::new("name", text::series_name(idx, '.'))]);
    let histograms: Vec<_> = (0..text::N_SERIES).map(series).collect();
    let record = move || {
        for histogram in &histograms {
            text::fresh_samples().for_each(|sample| histogram.record(sample));
        }
    };
    let path = "prometheus exporter, two instruments with an attribute";
    text::contender(Kind::Peer, NAME, path, move |text| sdk.render(text), record)
}
