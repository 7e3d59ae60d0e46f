//! The floors: lower bounds of the cost of each measurement.
//!
//! They are a plain store to a static, a relaxed `fetch_add` on a static and, for the text, a copy of names and numbers from
//! an array into a buffer. None of them is usable as a stat: all names share one static. Another floor shows the cost of
//! a word per thread if the compiler chooses how to compute its address.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::contender::{Contender, Contenders, Kind, Measurement, ReadBack};
use crate::inputs::{N_VALUES, SECONDS, repeat, repeat_values};
use crate::text;

/// Each cell has its own cache line, so that the floors do not slow each other.
#[repr(align(128))]
struct Cell(AtomicU64);

static STORED: Cell = Cell(AtomicU64::new(0));
static ADDED: Cell = Cell(AtomicU64::new(0));
static LAST: Cell = Cell(AtomicU64::new(0));

pub(crate) fn contenders(measurement: Measurement) -> Contenders {
    Ok(match measurement {
        Measurement::CounterHandle | Measurement::CounterLiteral | Measurement::CounterRunTime => {
            vec![fetch_add(Kind::Floor), store(Kind::OtherFloor), own_word()]
        }
        Measurement::Sample => vec![fetch_add(Kind::Floor), store_bits(Kind::OtherFloor)],
        Measurement::Set => vec![store_bits(Kind::Floor), fetch_add(Kind::OtherFloor)],
        Measurement::Text => vec![copy()],
    })
}

/// Additions to one shared word. The total is read back.
fn fetch_add(kind: Kind) -> Contender {
    let before = ADDED.0.load(Ordering::Relaxed);
    let run = |n_calls| repeat(n_calls, || _ = ADDED.0.fetch_add(1, Ordering::Relaxed));
    let count = move || (ADDED.0.load(Ordering::Relaxed) - before) as f64;
    Contender::counting(kind, "fetch_add", "AtomicU64::fetch_add(1, Relaxed)", run, count)
}

/// Stores of a number that the compiler does not know. All threads store the same number last.
fn store(kind: Kind) -> Contender {
    let run = |n_calls| {
        LAST.0.store(n_calls, Ordering::Relaxed);
        repeat(n_calls, || STORED.0.store(n_calls, Ordering::Relaxed));
    };
    let read_back = |_| ReadBack {
        found: STORED.0.load(Ordering::Relaxed) as f64,
        expected: LAST.0.load(Ordering::Relaxed) as f64,
    };
    Contender::new(kind, "store", "AtomicU64::store(x, Relaxed)", run, read_back)
}

/// Additions to a word per thread, found by index, as in statvent except for how the address is computed.
fn own_word() -> Contender {
    let run = |n_calls| {
        repeat(n_calls, || {
            let place = ROW.with(|row| *row) + COLUMN.load(Ordering::Relaxed);
            let word = &OWN_WORDS[place & LAST_WORD];
            word.store(word.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        });
    };
    let sum = || OWN_WORDS.iter().map(|word| word.load(Ordering::Relaxed)).sum::<u64>();
    let before = sum();
    let count = move || (sum() - before) as f64;
    Contender::counting(Kind::OtherFloor, "own word", "load, add, store", run, count)
}

const ROW_WORDS: usize = 64;
const LAST_WORD: usize = 64 * ROW_WORDS - 1;
static OWN_WORDS: [AtomicU64; LAST_WORD + 1] = [const { AtomicU64::new(0) }; LAST_WORD + 1];
static N_ROWS: AtomicUsize = AtomicUsize::new(0);
static COLUMN: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static ROW: usize = N_ROWS.fetch_add(ROW_WORDS, Ordering::Relaxed);
}

fn store_bits(kind: Kind) -> Contender {
    let run = |n_calls| {
        repeat_values(n_calls, &SECONDS, |seconds| STORED.0.store(seconds.to_bits(), Ordering::Relaxed));
    };
    let found = || f64::from_bits(STORED.0.load(Ordering::Relaxed));
    let read_back = move |_| ReadBack { found: found(), expected: SECONDS[N_VALUES - 1] };
    Contender::new(kind, "store", "AtomicU64::store(bits, Relaxed)", run, read_back)
}

/// The lines of statvent's text from an array of names and numbers, without a registry, a series or a sum.
fn copy() -> Contender {
    let integers: Vec<_> =
        (0..text::N_COUNTERS).map(|idx| (text::counter_name(idx, '.'), text::counter_value(idx))).collect();
    let labels = ["median", "95th", "99th", "100th", "mean"];
    let name = |idx| labels.map(|label| format!("{}.{label}", text::series_name(idx, '.')));
    let floats: Vec<_> = (0..text::N_SERIES).flat_map(name).zip(text::fresh_samples()).collect();
    let render = move |mut text: Vec<u8>| {
        text.clear();
        for (name, value) in &integers {
            line(&mut text, name, itoa::Buffer::new().format(*value));
        }
        for (name, value) in &floats {
            line(&mut text, name, zmij::Buffer::new().format(*value));
        }
        text
    };
    text::contender(Kind::Floor, "copy", "names, itoa and zmij into a Vec", render, || ())
}

fn line(text: &mut Vec<u8>, name: &str, value: &str) {
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(b": ");
    text.extend_from_slice(value.as_bytes());
    text.push(b'\n');
}
