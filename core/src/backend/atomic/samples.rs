//! The last samples of all series, as threads keep them.
//!
//! Owns where the rings of a series are, and how readers move what is new in the threads' own rings into the series'
//! window. One ring is `thread_ring`'s, the window `ring`'s, the quantiles `series`'s.

use super::shard_id;
use super::shared_ring::SharedRing;
use super::spin::RawMutex;
use super::thread_ring::{ThreadRing, fair_share};
use crate::backend::common::MAX_SHARDS;
use crate::quantiles::Window;
use crate::sync::{const_new, filled};

/// The shared_rings of `SERIES` series, and for each of them a ring in each of `SHARDS` shards. What is recorded for a number
/// that is none is ignored.
pub(crate) struct SampleStore<const SERIES: usize, const SHARDS: usize> {
    shared_rings: [SharedRing; SERIES],
    /// Keeps other readers out while held.
    pub(crate) drain_mutex: RawMutex,
    thread_rings: [[ThreadRing; SERIES]; SHARDS],
}

impl<const SERIES: usize, const SHARDS: usize> SampleStore<SERIES, SHARDS> {
    const_new! {
        pub(crate) fn new() -> Self {
            Self {
                shared_rings: filled![SharedRing::new(); SERIES],
                drain_mutex: RawMutex::new(),
                thread_rings: filled![filled![ThreadRing::new(); SERIES]; SHARDS],
            }
        }
    }

    /// Records in the calling thread's own ring; false, and nothing is done, where it has none.
    #[inline]
    pub(crate) fn record_fast(&self, idx: usize, sample: f64) -> bool {
        // One comparison for both: a number or an index that is none lies beyond all rings.
        let ring_idx = shard_id::current().times(SERIES).wrapping_add(idx);
        self.thread_rings.as_flattened().get(ring_idx).map(|ring| ring.record(sample)).is_some()
    }

    /// Returns the ring that the thread of this number owns.
    #[cfg(all(test, loom))]
    pub(crate) fn thread_ring(&self, id: usize, idx: usize) -> &ThreadRing {
        &self.thread_rings[id][idx]
    }

    #[inline]
    pub(crate) fn view(&self) -> SamplesView<'_> {
        let thread_rings = self.thread_rings.as_flattened();
        SamplesView { shared_rings: &self.shared_rings, drain_mutex: &self.drain_mutex, thread_rings }
    }
}

/// The samples of all series, without the capacities in the type.
#[derive(Clone, Copy)]
pub(crate) struct SamplesView<'r> {
    shared_rings: &'r [SharedRing],
    drain_mutex: &'r RawMutex,
    thread_rings: &'r [ThreadRing],
}

impl<'r> SamplesView<'r> {
    /// Records in the calling thread's own ring, or else in the window.
    #[inline]
    pub(crate) fn record(self, idx: usize, sample: f64) {
        let ring_idx = shard_id::current().get().wrapping_mul(self.shared_rings.len()).wrapping_add(idx);
        match self.thread_rings.get(ring_idx) {
            Some(ring) => ring.record(sample),
            None => self.record_slow(idx, sample),
        }
    }

    #[cold]
    fn record_slow(self, idx: usize, sample: f64) {
        if !self.thread_rings.is_empty() {
            shard_id::acquire();
        }
        self.init(idx, sample);
    }

    /// Records in the window: the first sample of a new series, which is not published yet, or any.
    pub(crate) fn init(self, idx: usize, sample: f64) {
        if let Some(shared) = self.shared_rings.get(idx) {
            shared.record(sample);
        }
    }

    /// Returns the last samples of a series, also those that no reader fetched yet.
    ///
    /// Readers take turns; threads that record do not wait for them.
    pub(crate) fn window(self, idx: usize) -> Option<Window> {
        let shared = self.shared_rings.get(idx)?;
        if !self.thread_rings.is_empty() {
            self.drain_mutex.with_lock(|| self.drain(idx, shared));
        }
        Some(shared.window())
    }

    /// Moves what is new in the rings of a series into its window. Of more than fit, each thread gives the same share
    /// of its newest, and so do those without a ring, whose samples are in the window already.
    fn drain(self, idx: usize, shared: &SharedRing) {
        let mut ends = [0; MAX_SHARDS];
        // What comes from here on is for the next reader.
        let (n_there, n_shared) = shared.end();
        let mut n_new = n_shared;
        for (ring, end) in self.rings(idx).zip(&mut ends) {
            *end = ring.end();
            n_new = n_new.saturating_add(ring.n_new(*end));
        }
        // What the shares leave of the window stays with those who have no ring.
        let (mut n_seen, mut n_accounted) = (0u64, n_there);
        for (ring, end) in self.rings(idx).zip(ends) {
            let n_before = n_seen;
            n_seen = n_seen.saturating_add(ring.n_new(end));
            let n_drained = fair_share(n_seen, n_new) - fair_share(n_before, n_new);
            shared.record_all(n_drained, ring.drain(n_drained, end));
            n_accounted += n_drained;
        }
        shared.set_accounted(n_accounted);
    }

    /// The rings of a series, in all shards that were ever used.
    fn rings(self, idx: usize) -> impl Iterator<Item = &'r ThreadRing> {
        let n_series = self.shared_rings.len().max(1);
        self.thread_rings.iter().skip(idx).step_by(n_series).take(shard_id::n_used())
    }

    /// Forgets the samples of the first `n_series`; while no other thread exists.
    #[cfg(feature = "std")]
    pub(crate) fn reset(self, n_series: usize) {
        for (idx, shared) in self.shared_rings.iter().take(n_series).enumerate() {
            self.rings(idx).for_each(ThreadRing::reset);
            shared.reset();
        }
    }
}
