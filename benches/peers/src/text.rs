//! The text measurement: the same stats for every contender, and what a right text of them says.
//!
//! Owns the values of the 1000 counters and the reading of an exposition. A value line is a line that is neither
//! empty nor a comment, whatever it is about; buckets of a histogram are several. Called by `peers`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::contender::{Answer, Contender, Kind};

/// Counters in the text.
pub(crate) const N_COUNTERS: usize = 1000;

/// Series, histograms or summaries in the text.
pub(crate) const N_SERIES: usize = 20;

/// Samples that each of them gets before each text.
pub(crate) const N_FRESH: usize = 100;

/// Buckets of histograms: those that most clients have as their default.
pub(crate) const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The name of a counter, `.` as given by `separator`.
pub(crate) fn counter_name(idx: usize, separator: char) -> String {
    format!("service{separator}request{separator}{idx:04}")
}

/// The value of a counter: one to ten digits, so that neither short nor long ones are all there is.
pub(crate) fn counter_value(idx: usize) -> u64 {
    idx as u64 * 1_000_003
}

/// The name of a series.
pub(crate) fn series_name(idx: usize, separator: char) -> String {
    format!("latency{separator}{idx:02}")
}

/// Samples in no order, all different within a series.
pub(crate) fn fresh_samples() -> impl Iterator<Item = f64> {
    (0..N_FRESH).map(|idx| (idx * 37 % N_FRESH + 1) as f64 / 128.0)
}

/// A contender whose call is `render`: it is given its last text, whose memory it may use again, and returns a new one.
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
    // One thread takes this lock, once for a text of many microseconds.
    let text = Arc::new(Mutex::new(text));
    let written = text.clone();
    let run = move |n_calls| {
        for _ in 0..n_calls {
            let mut text = lock(&text);
            *text = render(std::mem::take(&mut text));
        }
    };
    let answer =
        move |_| Answer { found: sum_of_counters(lock(&written).as_ref()), expected: expected_sum() };
    Contender::new(kind, name, path, run, answer).prepared_by(record).with_units(n_lines as f64)
}

/// The value of the only value line whose name begins with `name`.
pub(crate) fn value_of(text: &[u8], name: &str) -> Option<f64> {
    let mut found = value_lines(text).filter(|line| line.starts_with(name.as_bytes()));
    let line = found.next()?;
    found.next().is_none().then(|| last_number(line))?
}

/// The sum of all value lines whose name begins with `name`.
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

/// The sum of the counters in a text; not a number unless there are as many as there should be.
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
    fn comments_and_empty_lines_are_no_value_lines() {
        assert_eq!(value_lines(TEXT).count(), 3);
    }

    #[test]
    fn a_value_is_found_by_the_beginning_of_its_line() {
        assert_eq!(value_of(TEXT, "a "), Some(1.0));
        assert_eq!(value_of(TEXT, "ab:"), Some(4.0));
        assert_eq!(value_of(TEXT, "a"), None, "two lines begin so");
        assert_eq!(sum_of(TEXT, "ab"), 6.5);
    }

    #[test]
    fn a_text_without_all_counters_has_no_sum() {
        let line = |idx| format!("{}: {}\n", counter_name(idx, '.'), counter_value(idx));
        let all: String = (0..N_COUNTERS).map(line).collect();
        assert_eq!(sum_of_counters(all.as_bytes()), expected_sum());
        assert!(sum_of_counters(&all.as_bytes()[15..]).is_nan());
    }
}
