//! Store of the samples of all series, for interrupts.
//!
//! Owns the rings. `quantiles` evaluates the window.

use super::lock::CriticalCell;
use crate::limits::WINDOW_SAMPLES;
use crate::quantiles::Window;

/// The rings of `SERIES` series. An invalid index is ignored.
pub(crate) struct SampleStore<const SERIES: usize, const SHARDS: usize>([SampleRing; SERIES]);

impl<const SERIES: usize, const SHARDS: usize> SampleStore<SERIES, SHARDS> {
    pub(crate) const fn new() -> Self {
        Self([const { SampleRing::new() }; SERIES])
    }

    /// Always false: there are no rings of threads.
    #[inline(always)]
    pub(crate) fn record_fast(&self, _: usize, _: f64) -> bool {
        false
    }

    pub(crate) fn view(&self) -> SamplesView<'_> {
        SamplesView(&self.0)
    }
}

/// The samples of all series, without the capacity in the type.
#[derive(Clone, Copy)]
pub(crate) struct SamplesView<'r>(&'r [SampleRing]);

impl SamplesView<'_> {
    pub(crate) fn record(self, idx: usize, sample: f64) {
        if let Some(ring) = self.0.get(idx) {
            ring.record(sample);
        }
    }

    /// Records the first sample of a new series, before its name is published.
    pub(crate) fn init(self, idx: usize, sample: f64) {
        self.record(idx, sample);
    }

    pub(crate) fn window(self, idx: usize) -> Option<Window> {
        Some(self.0.get(idx)?.window())
    }
}

/// The last samples, as bits. A reader copies slot by slot while others record: its window may contain a sample and
/// lack an older one.
struct SampleRing {
    state: CriticalCell<RingState>,
    slots: [CriticalCell<u64>; WINDOW_SAMPLES],
}

/// The number of slots that were ever claimed, at most all, and the next slot.
#[derive(Clone, Copy)]
struct RingState {
    n_claimed: u8,
    next: u8,
}

const _: () = assert!(WINDOW_SAMPLES <= u8::MAX as usize);

impl RingState {
    fn claim(&mut self) -> usize {
        let claimed = usize::from(self.next);
        // Not by a remainder: small processors call a function for that.
        self.next = if claimed + 1 < WINDOW_SAMPLES { self.next + 1 } else { 0 };
        self.n_claimed = self.n_claimed.max(claimed as u8 + 1);
        claimed
    }
}

impl SampleRing {
    const fn new() -> Self {
        Self {
            state: CriticalCell::new(RingState { n_claimed: 0, next: 0 }),
            slots: [const { CriticalCell::new(0) }; WINDOW_SAMPLES],
        }
    }

    /// In one critical section, so that a slot is never counted before its first sample.
    fn record(&self, sample: f64) {
        self.state.with(|state| {
            if let Some(slot) = self.slots.get(state.claim()) {
                slot.with(|bits| *bits = sample.to_bits());
            }
        });
    }

    fn window(&self) -> Window {
        let n_claimed = self.state.with(|state| usize::from(state.n_claimed));
        let samples = self.slots.iter().take(n_claimed).map(|slot| f64::from_bits(slot.with(|bits| *bits)));
        Window::from_samples(samples, |keys, _| {
            shell_sort(keys);
            0..keys.len()
        })
    }
}

/// A tenth of the code of the standard library's sort, and fast enough for a hundred keys.
fn shell_sort(keys: &mut [u64]) {
    for gap in [57, 23, 10, 4, 1] {
        for end in gap..keys.len() {
            let mut at = end;
            while let Some([left, .., right]) = at.checked_sub(gap).and_then(|left| keys.get_mut(left..=at))
                && *left > *right
            {
                core::mem::swap(left, right);
                at -= gap;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_standard_librarys_sort_agrees(mut keys in prop::collection::vec(0u64..50, 0..=WINDOW_SAMPLES)) {
            let mut sorted = keys.clone();
            sorted.sort_unstable();
            shell_sort(&mut keys);
            prop_assert_eq!(keys, sorted);
        }
    }
}
