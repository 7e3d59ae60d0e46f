//! Quantiles and mean of the last samples of a series, computed at read time.
//!
//! Owns the window of samples that a reader copies, and the table of quantiles. `backend` stores the samples. It
//! knows neither names nor text.

use core::ops::Range;

use crate::limits::{MAX_LABEL_BYTES, WINDOW_SAMPLES};

/// A percentage from 0 to 100, and the label of its stat.
pub type Quantile = (f64, &'static str);

/// The default quantiles of a series.
pub const DEFAULT_QUANTILES: &[Quantile] =
    &[(50.0, "median"), (95.0, "95th"), (99.0, "99th"), (100.0, "100th")];

/// The label of the mean, which comes after the quantiles.
pub const MEAN_LABEL: &str = "mean";

/// Samples of one moment, as integer keys in ascending order where they are sorted: numbers, then positive NaNs.
#[derive(Debug)]
pub(crate) struct Window {
    keys: heapless::Vec<u64, WINDOW_SAMPLES>,
    sum: f64,
    /// The range of keys at their final position. No key before it is larger, no key after it is smaller.
    sorted: Range<usize>,
    select: SelectFn,
}

/// Moves the key of an index to its sorted position, maybe others as well; returns the range of keys at their final
/// position.
pub(crate) type SelectFn = fn(&mut [u64], usize) -> Range<usize>;

impl Window {
    pub(crate) const fn new() -> Self {
        Self { keys: heapless::Vec::new(), sum: 0.0, sorted: 0..0, select: |_, _| 0..0 }
    }

    /// Collects samples, at most [`WINDOW_SAMPLES`].
    pub(crate) fn from_samples(samples: impl Iterator<Item = f64>, select: SelectFn) -> Self {
        let mut window = Self { select, ..Self::new() };
        // Sorting integers takes half the time of sorting floats.
        for sample in samples {
            if window.keys.push(sort_key(sample)).is_err() {
                break;
            }
            window.sum += sample;
        }
        window
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns the sample at index `floor(n * percent / 100) - 1`, at least 0; NaN if the window is empty. Fastest
    /// with ascending percentages.
    pub(crate) fn quantile(&mut self, percent: f64) -> f64 {
        let rank = libm::floor(self.keys.len() as f64 * percent / 100.0) as usize;
        let idx = rank.min(self.keys.len()).saturating_sub(1);
        if !self.sorted.contains(&idx) {
            let start = if idx < self.sorted.start { 0 } else { self.sorted.end };
            if let Some(keys) = self.keys.get_mut(start..) {
                let sorted = (self.select)(keys, idx - start);
                self.sorted = start + sorted.start..start + sorted.end;
            }
        }
        self.keys.get(idx).map_or(f64::NAN, |key| from_sort_key(*key))
    }

    /// Returns the mean; NaN of an empty window.
    pub(crate) fn mean(&self) -> f64 {
        self.sum / self.keys.len() as f64
    }
}

const SIGN: u64 = 1 << 63;

/// Maps a float to an integer of the same order (the total order of IEEE 754): positive numbers are above negative
/// ones, whose bits are inverted.
fn sort_key(sample: f64) -> u64 {
    let bits = sample.to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

fn from_sort_key(key: u64) -> f64 {
    f64::from_bits(if key & SIGN == 0 { !key } else { key & !SIGN })
}

/// Panics if a percentage or label is invalid; a compile error if the table is a constant.
pub(crate) const fn assert_quantiles(table: &[Quantile]) {
    let mut idx = 0;
    while idx < table.len() {
        let (percent, label) = table[idx];
        assert!(percent >= 0.0 && percent <= 100.0, "a quantile is given in percent, from 0 to 100");
        assert!(!label.is_empty(), "the label of a quantile is empty");
        assert!(label.len() <= MAX_LABEL_BYTES, "the label of a quantile is longer than 32 bytes");
        idx += 1;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    //! Properties: the window is the last hundred samples; a quantile is the sample at the documented index; a
    //! naive implementation agrees.

    use super::*;
    use crate::backend::SampleStore;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn window_of(samples: impl IntoIterator<Item = f64>) -> Window {
        let series = SampleStore::<1, 0>::new();
        samples.into_iter().for_each(|sample| series.view().record(0, sample));
        series.view().window(0).unwrap_or_else(Window::new)
    }

    fn quantiles_and_mean(mut window: Window) -> [f64; 5] {
        let [median, high, higher, highest] =
            [50.0, 95.0, 99.0, 100.0].map(|percent| window.quantile(percent));
        [median, high, higher, highest, window.mean()]
    }

    #[test]
    fn quantiles_of_windows_of_several_sizes() {
        assert_eq!(quantiles_and_mean(window_of([7.0])), [7.0; 5]);
        assert_eq!(quantiles_and_mean(window_of([10.0, 20.0, 30.0])), [10.0, 20.0, 20.0, 30.0, 20.0]);
        assert_eq!(quantiles_and_mean(window_of((1..=100).map(f64::from))), [50.0, 95.0, 99.0, 100.0, 50.5]);
        // Of 250 samples only the last hundred count: 151 to 250.
        assert_eq!(
            quantiles_and_mean(window_of((1..=250).map(f64::from))),
            [200.0, 245.0, 249.0, 250.0, 200.5]
        );
    }

    #[test]
    fn a_fractional_index_is_rounded_down() {
        let mut window = window_of((1..=100).map(f64::from));
        assert_eq!(window.quantile(99.9), 99.0);
        assert_eq!(window.quantile(0.0), 1.0);
    }

    #[test]
    fn infinities_and_nan_sort_at_the_ends() {
        let mut window = window_of([f64::NAN, 1.0, f64::INFINITY, f64::NEG_INFINITY]);
        assert_eq!(window.quantile(0.0), f64::NEG_INFINITY);
        assert_eq!(window.quantile(75.0), f64::INFINITY);
        assert!(window.quantile(100.0).is_nan());
        assert!(window.mean().is_nan());
    }

    #[test]
    fn keys_sort_as_samples_do_and_read_back() {
        let sorted =
            [f64::NEG_INFINITY, -2.5, -5e-324, -0.0, 0.0, 5e-324, 1.0, f64::MAX, f64::INFINITY, f64::NAN];
        assert!(sorted.map(sort_key).is_sorted());
        assert_eq!(sorted.map(sort_key).map(from_sort_key).map(f64::to_bits), sorted.map(f64::to_bits));
    }

    #[test]
    fn quantiles_and_mean_of_an_empty_window_are_nan() {
        assert!(Window::new().is_empty());
        assert!(Window::new().quantile(50.0).is_nan() && Window::new().mean().is_nan());
    }

    proptest! {
        #[test]
        fn a_naive_implementation_agrees_in_any_order_of_percentages(
            samples in prop::collection::vec(prop_oneof![-1e6..1e6f64, (0..5u8).prop_map(f64::from)], 1..300),
            percents in prop::collection::vec(0u32..=100, 1..8),
        ) {
            let mut last: Vec<f64> = samples.iter().rev().take(WINDOW_SAMPLES).copied().collect();
            last.sort_by(f64::total_cmp);
            let mut window = window_of(samples);
            for percent in percents {
                let idx = (last.len() * percent as usize / 100).saturating_sub(1);
                prop_assert_eq!(window.quantile(f64::from(percent)), last[idx], "of {}", percent);
            }
            let mean = last.iter().sum::<f64>() / last.len() as f64;
            prop_assert!((window.mean() - mean).abs() < 1e-6);
        }
    }
}
