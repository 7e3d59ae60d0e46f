//! `measured`, with the default buckets of the other crates.
//!
//! A counter is a relaxed `fetch_add`. By label it is found in a sharded map of interned names (`ParaCord`) or, faster, in
//! an array if all names are known in advance (`RodeoReader`); the text uses the array. A histogram takes a read lock,
//! adds to one atomic, and adds to a float with compare-and-swap.

#![allow(clippy::unwrap_used, reason = "a panic fails the benchmark")]

use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock, Mutex};

use lasso::{Rodeo, RodeoReader};
use measured::metric::group::MetricGroup;
use measured::metric::histogram::Thresholds;
use measured::text::BufferedTextEncoder;
use measured::{Counter, CounterVec, FloatGauge, Histogram, HistogramVec, LabelGroup};
use paracord::ParaCord;

use crate::contender::{Contender, Contenders, Kind, Measurement, ReadBack};
use crate::inputs::{N_VALUES, SECONDS, names, repeat, repeat_names, repeat_values};
use crate::text;

const NAME: &str = "measured";
const FIXED: &str = "measured, fixed";

#[derive(Clone, Copy, LabelGroup)]
#[label(set = ByNameSet)]
struct ByName<'a> {
    #[label(dynamic_with = ParaCord)]
    name: &'a str,
}

#[derive(Clone, Copy, LabelGroup)]
#[label(set = ByFixedNameSet)]
struct ByFixedName<'a> {
    #[label(fixed_with = RodeoReader)]
    name: &'a str,
}

#[derive(measured::MetricGroup)]
struct TextStats {
    /// help
    requests: CounterVec<ByFixedNameSet>,
    /// help
    latency: HistogramVec<ByFixedNameSet, 11>,
}

pub(crate) fn contenders(measurement: Measurement) -> Contenders {
    Ok(vec![match measurement {
        Measurement::CounterHandle => {
            let counter = Arc::new(Counter::new());
            let same_counter = counter.clone();
            let run = move |n_calls| repeat(n_calls, || counter.inc());
            Contender::counting(Kind::Peer, NAME, "Counter::inc()", run, move || count_of(&same_counter))
        }
        Measurement::CounterLiteral => {
            static LITERAL: LazyLock<Counter> = LazyLock::new(Counter::new);
            let before = count_of(&LITERAL);
            let run = |n_calls| repeat(n_calls, || LITERAL.inc());
            let count = move || count_of(&LITERAL) - before;
            Contender::counting(Kind::Peer, NAME, "static LazyLock<Counter>, inc()", run, count)
        }
        Measurement::CounterRunTime => return Ok(by_run_time_name()),
        Measurement::Sample => {
            let histogram = Arc::new(Histogram::with_metadata(Thresholds::with_buckets(text::BUCKETS)));
            let same_histogram = histogram.clone();
            let run = move |n_calls| repeat_values(n_calls, &SECONDS, |seconds| histogram.observe(seconds));
            let count = move || {
                let metric = same_histogram.get_metric();
                let state = metric.inner.read();
                let buckets = state.buckets.iter().chain([&state.inf]);
                buckets.map(|bucket| bucket.load(Ordering::Relaxed) as f64).sum()
            };
            Contender::counting(Kind::Peer, NAME, "Histogram::observe(x)", run, count)
        }
        Measurement::Set => {
            let gauge = Arc::new(FloatGauge::new());
            let same_gauge = gauge.clone();
            let run = move |n_calls| repeat_values(n_calls, &SECONDS, |seconds| gauge.set(seconds));
            let found = move || same_gauge.get_metric().count.get();
            let read_back = move |_| ReadBack { found: found(), expected: SECONDS[N_VALUES - 1] };
            Contender::new(Kind::Peer, NAME, "FloatGauge::set(x)", run, read_back)
        }
        Measurement::Text => whole_text(),
    }])
}

fn by_run_time_name() -> Vec<Contender> {
    let any = Arc::new(CounterVec::with_label_set(ByNameSet { name: ParaCord::default() }));
    let (given, same_names, same_any) = (names(), names(), any.clone());
    let run = move |n_calls| repeat_names(n_calls, &given, |name| any.inc(ByName { name }));
    let get = move |name: &String| {
        let id = same_any.with_labels(ByName { name });
        same_any.get_metric(id).count.load(Ordering::Relaxed) as f64
    };
    let count = move || same_names.iter().map(&get).sum();
    let any = Contender::counting(Kind::Peer, NAME, "CounterVec::inc(ByName { name })", run, count);

    let fixed = Arc::new(CounterVec::with_label_set(fixed_names(names())));
    let (given, same_names, same_fixed) = (names(), names(), fixed.clone());
    let run = move |n_calls| repeat_names(n_calls, &given, |name| fixed.inc(ByFixedName { name }));
    let get = move |name: &String| {
        let id = same_fixed.with_labels(ByFixedName { name });
        same_fixed.get_metric(id).count.load(Ordering::Relaxed) as f64
    };
    let count = move || same_names.iter().map(&get).sum();
    let path = "CounterVec::inc(ByName { name }), all names given before";
    vec![any, Contender::counting(Kind::Peer, FIXED, path, run, count)]
}

fn fixed_names(names: impl IntoIterator<Item = String>) -> ByFixedNameSet {
    ByFixedNameSet { name: names.into_iter().collect::<Rodeo>().into_reader() }
}

fn count_of(counter: &Counter) -> f64 {
    counter.get_metric().count.load(Ordering::Relaxed) as f64
}

fn whole_text() -> Contender {
    let stats = Arc::new(TextStats {
        requests: CounterVec::with_label_set(fixed_names(
            (0..text::N_COUNTERS).map(|idx| text::counter_name(idx, '.')),
        )),
        latency: HistogramVec::with_label_set_and_metadata(
            fixed_names((0..text::N_SERIES).map(|idx| text::series_name(idx, '.'))),
            Thresholds::with_buckets(text::BUCKETS),
        ),
    });
    for idx in 0..text::N_COUNTERS {
        stats.requests.inc_by(ByFixedName { name: &text::counter_name(idx, '.') }, text::counter_value(idx));
    }
    let same_stats = stats.clone();
    let record = move || {
        for idx in 0..text::N_SERIES {
            let name = text::series_name(idx, '.');
            text::fresh_samples()
                .for_each(|sample| same_stats.latency.observe(ByFixedName { name: &name }, sample));
        }
    };
    let encoder = Mutex::new(BufferedTextEncoder::new());
    let render = move |last_text| {
        // The encoder reuses the memory of the last text only after that text is dropped.
        drop(last_text);
        let mut encoder = encoder.lock().unwrap();
        stats.collect_group_into(&mut *encoder).unwrap();
        encoder.finish()
    };
    text::contender(Kind::Peer, NAME, "BufferedTextEncoder, a group of two families", render, record)
}
