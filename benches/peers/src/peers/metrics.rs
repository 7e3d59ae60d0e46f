//! `metrics` with `metrics-exporter-prometheus`, with the default quantiles of its summaries.
//!
//! `counter!` creates a key and looks it up in the sharded map of the global recorder at each call; a handle holds its
//! atomic. A sample is appended to a block, which a reader drains. Here that happens before each batch of calls; the
//! exporter does it periodically. The text is measured on a separate recorder.

#![allow(clippy::unwrap_used, reason = "a panic fails the benchmark")]

use std::sync::OnceLock;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::contender::{Contender, Contenders, Kind, Measurement, ReadBack};
use crate::inputs::{N_VALUES, SECONDS, names, repeat, repeat_names, repeat_values};
use crate::text;

const NAME: &str = "metrics";

pub(crate) fn contenders(measurement: Measurement) -> Contenders {
    let exporter = exporter();
    let read =
        |name: &'static str| move || text::value_of(exporter.render().as_bytes(), name).unwrap_or(f64::NAN);
    Ok(vec![match measurement {
        Measurement::CounterHandle => {
            let counter = metrics::counter!("handle");
            let run = move |n_calls| repeat(n_calls, || counter.increment(1));
            Contender::counting(Kind::Peer, NAME, "Counter::increment(1)", run, read("handle "))
        }
        Measurement::CounterLiteral => {
            let run = |n_calls| repeat(n_calls, || metrics::counter!("literal").increment(1));
            Contender::counting(Kind::Peer, NAME, "counter!(\"literal\").increment(1)", run, read("literal "))
        }
        Measurement::CounterRunTime => {
            let names = names();
            let run = move |n_calls| {
                repeat_names(n_calls, &names, |name| metrics::counter!(name.clone()).increment(1));
            };
            let count = || text::sum_of(exporter.render().as_bytes(), "service_request_");
            Contender::counting(Kind::Peer, NAME, "counter!(name.clone()).increment(1)", run, count)
        }
        Measurement::Sample => {
            let histogram = metrics::histogram!("sample");
            let run = move |n_calls| repeat_values(n_calls, &SECONDS, |seconds| histogram.record(seconds));
            let path = "Histogram::record(x), drained between batches";
            Contender::counting(Kind::Peer, NAME, path, run, read("sample_count "))
                .prepared_by(|| exporter.run_upkeep())
        }
        Measurement::Set => {
            let gauge = metrics::gauge!("set");
            let run = move |n_calls| repeat_values(n_calls, &SECONDS, |seconds| gauge.set(seconds));
            let found = read("set ");
            let read_back = move |_| ReadBack { found: found(), expected: SECONDS[N_VALUES - 1] };
            Contender::new(Kind::Peer, NAME, "Gauge::set(x)", run, read_back)
        }
        Measurement::Text => whole_text(),
    }])
}

fn exporter() -> &'static PrometheusHandle {
    static EXPORTER: OnceLock<PrometheusHandle> = OnceLock::new();
    EXPORTER.get_or_init(|| PrometheusBuilder::new().install_recorder().unwrap())
}

fn whole_text() -> Contender {
    let recorder = PrometheusBuilder::new().build_recorder();
    let exporter = recorder.handle();
    let histograms: Vec<_> = metrics::with_local_recorder(&recorder, || {
        for idx in 0..text::N_COUNTERS {
            metrics::counter!("requests", "name" => text::counter_name(idx, '.'))
                .increment(text::counter_value(idx));
        }
        (0..text::N_SERIES)
            .map(|idx| metrics::histogram!("latency", "name" => text::series_name(idx, '.')))
            .collect()
    });
    let render = move |mut text: Vec<u8>| {
        text.clear();
        exporter.render_to_write(&mut text).unwrap();
        text
    };
    let record = move || {
        for histogram in &histograms {
            text::fresh_samples().for_each(|sample| histogram.record(sample));
        }
    };
    text::contender(Kind::Peer, NAME, "render_to_write(..), one labelled counter, summaries", render, record)
}
