//! `statvent`, with macros for literal names and functions for run-time names.
//!
//! Of a counter its stat is read back. A series keeps only a window, so the mean of the last samples is read back; the
//! reading thread records them. The text is of a registry with as many shards as the global one.

use statvent::{Registry, Value, WINDOW_SAMPLES, incr, record, set};

use crate::contender::{Contender, Contenders, Kind, Measurement, ReadBack};
use crate::inputs::{BLOCK_CALLS, N_VALUES, SECONDS, names, repeat, repeat_names, repeat_values};
use crate::text;

static TEXT: Registry<1024, 32, 65536, 32> = Registry::new();

pub(crate) fn contenders(measurement: Measurement) -> Contenders {
    Ok(vec![match measurement {
        Measurement::CounterHandle => {
            let counter = statvent::counter("peers.handle");
            let run = move |n_calls| repeat(n_calls, || counter.incr(1));
            Contender::counting(Kind::Ours, "statvent", "Counter::incr(1)", run, || get("peers.handle"))
        }
        Measurement::CounterLiteral => {
            let run = |n_calls| repeat(n_calls, || incr!("peers.literal"));
            Contender::counting(Kind::Ours, "statvent", "incr!(\"literal\")", run, || get("peers.literal"))
        }
        Measurement::CounterRunTime => {
            let (names, same_names) = (names(), names());
            let run = move |n_calls| repeat_names(n_calls, &names, |name| statvent::incr(name, 1));
            let count = move || same_names.iter().map(get).sum();
            Contender::counting(Kind::Ours, "statvent", "incr(name, 1)", run, count)
        }
        Measurement::Sample => {
            let run = |n_calls| repeat_values(n_calls, &SECONDS, |seconds| record!("peers.{0}", seconds));
            let read_back = move |_| {
                // Drain all samples first, so that the next read has only the last samples of this thread.
                series_mean();
                run(BLOCK_CALLS);
                ReadBack { found: series_mean(), expected: mean_of_last_samples() }
            };
            Contender::new(Kind::Ours, "statvent", "record!(\"literal.{0}\", x)", run, read_back)
        }
        Measurement::Set => {
            let run = |n_calls| repeat_values(n_calls, &SECONDS, |seconds| set!("peers.set", seconds));
            let read_back = |_| ReadBack { found: get("peers.set"), expected: SECONDS[N_VALUES - 1] };
            Contender::new(Kind::Ours, "statvent", "set!(\"literal\", x)", run, read_back)
        }
        Measurement::Text => {
            for idx in 0..text::N_COUNTERS {
                TEXT.incr(text::counter_name(idx, '.'), text::counter_value(idx));
            }
            // If the buffer is too small, the text lacks counters and the check refuses it.
            let render = |mut text: Text| {
                text.buffer.resize(1 << 16, 0);
                text.n_bytes = TEXT.snapshot().fill(&mut text.buffer).unwrap_or(0);
                text
            };
            text::contender(Kind::Ours, "statvent", "Registry::snapshot().fill(..)", render, record_fresh)
        }
    }])
}

fn get(name: impl AsRef<[u8]>) -> f64 {
    match statvent::get(name) {
        Some(Value::Int(int)) => int as f64,
        Some(Value::Float(float)) => float,
        None => f64::NAN,
    }
}

fn series_mean() -> f64 {
    let mut mean = f64::NAN;
    statvent::GLOBAL.for_each(|name, value| {
        if name == b"peers.mean" {
            mean = value.as_f64();
        }
    });
    mean
}

fn mean_of_last_samples() -> f64 {
    let last = SECONDS.iter().rev().cycle().take(WINDOW_SAMPLES);
    last.sum::<f64>() / WINDOW_SAMPLES as f64
}

fn record_fresh() {
    for idx in 0..text::N_SERIES {
        let series = TEXT.series(text::series_name(idx, '.') + ".{0}");
        text::fresh_samples().for_each(|sample| series.record(sample));
    }
}

/// A buffer for the text of these stats, and the length of the last text.
#[derive(Default)]
struct Text {
    buffer: Vec<u8>,
    n_bytes: usize,
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.n_bytes]
    }
}
