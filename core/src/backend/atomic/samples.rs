//! The last samples of all series, as threads keep them.
//!
//! Owns where the rings of a series are, and how readers move what is new in the threads' own rings into the series'
//! window. One ring is `own_ring`'s, the window `ring`'s, the quantiles `series`'s.

use super::own_ring::{OwnRing, share};
use super::ring::SampleRing;
use super::spin::Gate;
use super::thread_number;
use crate::backend::MAX_SHARDS;
use crate::series::Window;
use crate::sync::{const_new, filled};

/// The windows of `SERIES` series, and for each of them a ring in each of `SHARDS` shards. What is recorded for a number
/// that is none is ignored.
pub(crate) struct SampleStore<const SERIES: usize, const SHARDS: usize> {
    windows: [SampleRing; SERIES],
    /// Keeps other readers out while held.
    pub(crate) fetching: Gate,
    own_rings: [[OwnRing; SERIES]; SHARDS],
}

impl<const SERIES: usize, const SHARDS: usize> SampleStore<SERIES, SHARDS> {
    const_new! {
        pub(crate) fn new() -> Self {
            Self {
                windows: filled![SampleRing::new(); SERIES],
                fetching: Gate::new(),
                own_rings: filled![filled![OwnRing::new(); SERIES]; SHARDS],
            }
        }
    }

    /// Records in the calling thread's own ring; false, and nothing is done, where it has none.
    #[inline]
    pub(crate) fn record_own(&self, idx: usize, sample: f64) -> bool {
        // One comparison for both: a number or an index that is none lies beyond all rings.
        let place = thread_number::current().times(SERIES).wrapping_add(idx);
        self.own_rings.as_flattened().get(place).map(|ring| ring.record(sample)).is_some()
    }

    /// Returns the ring that the thread of this number owns.
    #[cfg(all(test, loom))]
    pub(crate) fn own_ring(&self, number: usize, idx: usize) -> &OwnRing {
        &self.own_rings[number][idx]
    }

    #[inline]
    pub(crate) fn view(&self) -> SamplesView<'_> {
        let own_rings = self.own_rings.as_flattened();
        SamplesView { windows: &self.windows, fetching: &self.fetching, own_rings }
    }
}

/// The samples of all series, without the capacities in the type.
#[derive(Clone, Copy)]
pub(crate) struct SamplesView<'r> {
    windows: &'r [SampleRing],
    fetching: &'r Gate,
    own_rings: &'r [OwnRing],
}

impl<'r> SamplesView<'r> {
    /// Records in the calling thread's own ring, or else in the window.
    #[inline]
    pub(crate) fn record(self, idx: usize, sample: f64) {
        let place = thread_number::current().get().wrapping_mul(self.windows.len()).wrapping_add(idx);
        match self.own_rings.get(place) {
            Some(ring) => ring.record(sample),
            None => self.record_slow(idx, sample),
        }
    }

    #[cold]
    fn record_slow(self, idx: usize, sample: f64) {
        if !self.own_rings.is_empty() {
            thread_number::take();
        }
        self.init(idx, sample);
    }

    /// Records in the window: the first sample of a new series, which is not published yet, or any.
    pub(crate) fn init(self, idx: usize, sample: f64) {
        if let Some(window) = self.windows.get(idx) {
            window.record(sample);
        }
    }

    /// Returns the last samples of a series, also those that no reader fetched yet.
    ///
    /// Readers take turns; threads that record do not wait for them.
    pub(crate) fn window(self, idx: usize) -> Option<Window> {
        let window = self.windows.get(idx)?;
        if !self.own_rings.is_empty() {
            self.fetching.with(|| self.fetch(idx, window));
        }
        Some(window.window())
    }

    /// Moves what is new in the rings of a series into its window. Of more than fit, each thread gives the same share
    /// of its newest, and so do those without a ring, whose samples are in the window already.
    fn fetch(self, idx: usize, window: &SampleRing) {
        let mut ends = [0; MAX_SHARDS];
        // What comes from here on is for the next reader.
        let (n_there, n_shared) = window.end();
        let mut n_new = n_shared;
        for (ring, end) in self.column(idx).zip(&mut ends) {
            *end = ring.end();
            n_new = n_new.saturating_add(ring.n_new(*end));
        }
        // What the shares leave of the window stays with those who have no ring.
        let (mut n_seen, mut n_known) = (0u64, n_there);
        for (ring, end) in self.column(idx).zip(ends) {
            let n_before = n_seen;
            n_seen = n_seen.saturating_add(ring.n_new(end));
            let n_fetched = share(n_seen, n_new) - share(n_before, n_new);
            window.record_all(n_fetched, ring.fetch(n_fetched, end));
            n_known += n_fetched;
        }
        window.set_known(n_known);
    }

    /// The rings of a series, in all shards that were ever used.
    fn column(self, idx: usize) -> impl Iterator<Item = &'r OwnRing> {
        let n_series = self.windows.len().max(1);
        self.own_rings.iter().skip(idx).step_by(n_series).take(thread_number::n_used())
    }

    /// Forgets the samples of the first `n_series`; while no other thread exists.
    #[cfg(feature = "std")]
    pub(crate) fn reset(self, n_series: usize) {
        for (idx, window) in self.windows.iter().take(n_series).enumerate() {
            self.column(idx).for_each(OwnRing::forget);
            window.forget();
        }
    }
}
