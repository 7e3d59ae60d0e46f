//! Store of the samples of all series, for threads.
//!
//! Owns the layout of rings, and how readers drain the threads' rings into the ring that all share. `thread_ring`
//! and `shared_ring` own one ring each, `quantiles` evaluates the window.

use super::shard_id;
use super::shared_ring::SharedRing;
use super::spin::RawMutex;
use super::thread_ring::{ThreadRing, fair_share};
use crate::limits::MAX_SHARDS;
use crate::quantiles::Window;
use crate::sync::{const_new, filled};

/// The shared rings of `SERIES` series, and for each a ring in each of `SHARDS` shards. An invalid index is
/// ignored.
pub(crate) struct SampleStore<const SERIES: usize, const SHARDS: usize> {
    shared_rings: [SharedRing; SERIES],
    /// Locked by the reader that drains.
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

    /// Records in the calling thread's own ring. Returns false, without effect, if it has none.
    #[inline]
    pub(crate) fn record_fast(&self, idx: usize, sample: f64) -> bool {
        // One comparison covers both: an invalid id or index lies beyond all rings.
        let ring_idx = shard_id::current().times(SERIES).wrapping_add(idx);
        self.thread_rings.as_flattened().get(ring_idx).map(|ring| ring.record(sample)).is_some()
    }

    /// Returns the ring of the thread with this shard id.
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
    /// Records in the calling thread's own ring, or in the shared ring if it has none.
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

    /// Records in the shared ring: any sample, or the first one of a new series before its name is published.
    pub(crate) fn init(self, idx: usize, sample: f64) {
        if let Some(shared) = self.shared_rings.get(idx) {
            shared.record(sample);
        }
    }

    /// Returns the last samples of a series, after draining the threads' rings.
    ///
    /// Readers exclude each other. Recording threads do not wait for them.
    pub(crate) fn window(self, idx: usize) -> Option<Window> {
        let shared = self.shared_rings.get(idx)?;
        if !self.thread_rings.is_empty() {
            self.drain_mutex.with_lock(|| self.drain(idx, shared));
        }
        Some(shared.window())
    }

    /// Moves new samples from the threads' rings into the shared ring. If more are new than fit, each thread
    /// contributes the same proportion of its newest samples. So do the threads without a ring, whose samples are
    /// in the shared ring already.
    fn drain(self, idx: usize, shared: &SharedRing) {
        let mut ends = [0; MAX_SHARDS];
        // The next reader takes samples that come later.
        let (n_claimed, n_shared) = shared.end();
        let mut n_new = n_shared;
        for (ring, end) in self.rings(idx).zip(&mut ends) {
            *end = ring.end();
            n_new = n_new.saturating_add(ring.n_new(*end));
        }
        // The rest of the window stays with the threads without a ring.
        let (mut n_so_far, mut n_accounted) = (0u64, n_claimed);
        for (ring, end) in self.rings(idx).zip(ends) {
            let n_before = n_so_far;
            n_so_far = n_so_far.saturating_add(ring.n_new(end));
            let n_drained = fair_share(n_so_far, n_new) - fair_share(n_before, n_new);
            shared.record_all(n_drained, ring.drain(n_drained, end));
            n_accounted += n_drained;
        }
        shared.set_accounted(n_accounted);
    }

    /// Returns the rings of a series in all shards that were ever used.
    fn rings(self, idx: usize) -> impl Iterator<Item = &'r ThreadRing> {
        let n_series = self.shared_rings.len().max(1);
        self.thread_rings.iter().skip(idx).step_by(n_series).take(shard_id::n_used())
    }

    /// Discards the samples of the first `n_series`. Only while no other thread exists.
    #[cfg(feature = "std")]
    pub(crate) fn reset(self, n_series: usize) {
        for (idx, shared) in self.shared_rings.iter().take(n_series).enumerate() {
            self.rings(idx).for_each(ThreadRing::reset);
            shared.reset();
        }
    }
}
