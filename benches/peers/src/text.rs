//! The text measurement: equal stats for every contender, and the check of their exposition.
//!
//! Owns the values of the 1000 counters and the parsing of an exposition. A value line is any line that is neither empty
//! nor a comment; a histogram has one for each bucket.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::contender::{Contender, Kind, ReadBack};

/// The number of counters in the text.
pub(crate) const N_COUNTERS: usize = 1000;

/// The number of series, histograms or summaries in the text.
pub(crate) const N_SERIES: usize = 20;

/// The number of samples that each series gets before each text.
pub(crate) const N_FRESH: usize = 100;

/// Buckets of histograms: the default of most clients.
pub(crate) const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The name of a counter, with `separator` between its parts.
pub(crate) fn counter_name(idx: usize, separator: char) -> String {
    format!("service{separator}request{separator}{idx:04}")
}

/// The value of a counter: one to ten digits, so that short and long numbers both occur.
pub(crate) fn counter_value(idx: usize) -> u64 {
    idx as u64 * 1_000_003
}

/// The name of a series, with `separator` between its parts.
pub(crate) fn series_name(idx: usize, separator: char) -> String {
    format!("latency{separator}{idx:02}")
}

/// The samples of one series: unordered, all different.
pub(crate) fn fresh_samples() -> impl Iterator<Item = f64> {
    (0..N_FRESH).map(|idx| (idx * 37 % N_FRESH + 1) as f64 / 128.0)
}

/// A contender whose call is `render`. It gets its last text, may reuse the memory, and returns the next text.
pub(crate) fn contender<T: AsRef<[u8]> + Default + Send + 'static>(
    kind: Kind,
    name: &'static str,
    path: &'static str,
    render: impl Fn(T) -> T + Send + Sync + 'static,
    record: impl Fn() + Send + Sync + 'static,
) -> Contender {
    record();
    let text = render(T::default());
    let n_lines = value_lines(text.as_ref()).count();
    // Only one thread takes this lock, once per text, which takes many microseconds.
    let text = Arc::new(Mutex::new(text));
    let written = text.clone();
    let run = move |n_calls| {
        for _ in 0..n_calls {
            let mut text = lock(&text);
            *text = render(std::mem::take(&mut text));
        }
    };
    let read_back =
        move |_| ReadBack { found: sum_of_counters(lock(&written).as_ref()), expected: expected_sum() };
    Contender::new(kind, name, path, run, read_back).prepared_by(record).with_units(n_lines as f64)
}

/// The value of the only value line that starts with `name`; `None` if there are several or none.
pub(crate) fn value_of(text: &[u8], name: &str) -> Option<f64> {
    let mut found = value_lines(text).filter(|line| line.starts_with(name.as_bytes()));
    let line = found.next()?;
    found.next().is_none().then(|| last_number(line))?
}

/// The sum of all value lines that start with `name`.
pub(crate) fn sum_of(text: &[u8], name: &str) -> f64 {
    value_lines(text).filter(|line| line.starts_with(name.as_bytes())).filter_map(last_number).sum()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn value_lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && !line.starts_with(b"#"))
}

fn last_number(line: &[u8]) -> Option<f64> {
    let text = line.rsplit(|byte| *byte == b' ').next()?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The sum of the counters in a text; NaN if their number is wrong.
fn sum_of_counters(text: &[u8]) -> f64 {
    let is_counter = |line: &&[u8]| line.windows(7).any(|part| part == b"request");
    let values: Vec<_> = value_lines(text).filter(is_counter).filter_map(last_number).collect();
    if values.len() == N_COUNTERS { values.iter().sum() } else { f64::NAN }
}

fn expected_sum() -> f64 {
    (0..N_COUNTERS).map(|idx| counter_value(idx) as f64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"# TYPE a counter\na 1\n\nab{c=\"d e\"} 2.5\nab: 4\n";

    #[test]
    fn comments_and_empty_lines_are_not_value_lines() {
        assert_eq!(value_lines(TEXT).count(), 3);
    }

    #[test]
    fn a_value_is_found_by_the_start_of_its_line() {
        assert_eq!(value_of(TEXT, "a "), Some(1.0));
        assert_eq!(value_of(TEXT, "ab:"), Some(4.0));
        assert_eq!(value_of(TEXT, "a"), None, "two lines start with it");
        assert_eq!(sum_of(TEXT, "ab"), 6.5);
    }

    #[test]
    fn a_text_that_lacks_a_counter_has_no_sum() {
        let line = |idx| format!("{}: {}\n", counter_name(idx, '.'), counter_value(idx));
        let all: String = (0..N_COUNTERS).map(line).collect();
        assert_eq!(sum_of_counters(all.as_bytes()), expected_sum());
        assert!(sum_of_counters(&all.as_bytes()[15..]).is_nan());
    }
}
