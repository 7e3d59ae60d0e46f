//! Memory quota of one scrape: a byte counter that all snapshots are charged to.
//!
//! Owns the counter and the share that each process has in any case. A snapshot above its share that finds no memory left
//! stops storing stats and counts the rest. It must not know pipes or lines.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The byte counter of all snapshots, and the share of each process.
///
/// After a scrape the snapshots fit the limit. During a scrape at most twice the limit is charged: the limit, and the shares
/// on top. A new snapshot is charged only for what exceeds the one that it replaces, so the memory is at most three times
/// the limit while both exist.
///
/// `Relaxed`: one thread scrapes, and the counter orders nothing.
#[derive(Debug)]
pub(super) struct Quota {
    limit_bytes: usize,
    used_bytes: AtomicUsize,
    share_bytes: AtomicUsize,
}

impl Quota {
    pub(super) fn new(limit_bytes: usize) -> Arc<Self> {
        Arc::new(Self { limit_bytes, used_bytes: 0.into(), share_bytes: limit_bytes.into() })
    }

    /// Divides the limit into equal shares.
    pub(super) fn share_among(&self, n_processes: usize) {
        self.share_bytes.store(self.limit_bytes / n_processes.max(1), Ordering::Relaxed);
    }

    fn left_bytes(&self) -> usize {
        self.limit_bytes.saturating_sub(self.used_bytes.load(Ordering::Relaxed))
    }
}

/// The bytes that one snapshot is charged; returned when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Charge {
    /// `None`: not counted, as for a snapshot that is parsed outside a scrape.
    quota: Option<Arc<Quota>>,
    /// The size of the snapshot that this one will replace, and that is charged already.
    replaced_bytes: usize,
    charged_bytes: usize,
}

impl Charge {
    pub(super) fn new(quota: &Arc<Quota>, replaced_bytes: usize) -> Self {
        Self { quota: Some(Arc::clone(quota)), replaced_bytes, charged_bytes: 0 }
    }

    /// Returns the most bytes that the snapshot may take at the moment.
    pub(super) fn limit_bytes(&self) -> usize {
        self.quota.as_ref().map_or(usize::MAX, |quota| {
            let share_bytes = quota.share_bytes.load(Ordering::Relaxed);
            share_bytes.max(self.replaced_bytes + self.charged_bytes + quota.left_bytes())
        })
    }

    /// Charges the present size, as far as it exceeds the replaced snapshot.
    pub(super) fn set(&mut self, n_bytes: usize) {
        let charged_bytes = n_bytes.saturating_sub(self.replaced_bytes);
        if let Some(quota) = &self.quota {
            quota.used_bytes.fetch_add(charged_bytes, Ordering::Relaxed);
            quota.used_bytes.fetch_sub(self.charged_bytes, Ordering::Relaxed);
        }
        self.charged_bytes = charged_bytes;
    }

    /// Charges the present size against a replaced snapshot of another size than before.
    pub(super) fn set_beyond(&mut self, replaced_bytes: usize, n_bytes: usize) {
        self.replaced_bytes = replaced_bytes;
        self.set(n_bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::{ProcessSnapshot, SnapshotBuilder};

    fn lines(n_stats: usize) -> Vec<u8> {
        (0..n_stats).flat_map(|n| format!("stat.{n:06}: 1\n").into_bytes()).collect()
    }

    /// The memory of one of these lines: a stat and its name.
    const LINE_BYTES: usize = 24 + 11;

    fn builder(quota: &Arc<Quota>, replaced_bytes: usize) -> SnapshotBuilder {
        SnapshotBuilder::within(Charge::new(quota, replaced_bytes))
    }

    fn parse(quota: &Arc<Quota>, replaced_bytes: usize, n_stats: usize) -> ProcessSnapshot {
        let mut builder = builder(quota, replaced_bytes);
        lines(n_stats).chunks(7000).for_each(|chunk| builder.feed(chunk).unwrap());
        builder.finish()
    }

    #[test]
    fn a_snapshot_above_the_limit_keeps_its_share_and_counts_the_rest() {
        let quota = Quota::new(1000 * LINE_BYTES);
        quota.share_among(10);
        let large = parse(&quota, 0, 5000);
        assert_eq!((large.n_stats(), large.n_left_out()), (1000, 4000));
        let other = parse(&quota, 0, 5000);
        assert_eq!((other.n_stats(), other.n_left_out()), (100, 4900));
        let small = parse(&quota, 0, 50);
        assert_eq!((small.n_stats(), small.n_left_out()), (50, 0));
        drop((large, other, small));
        assert_eq!(quota.used_bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_snapshot_that_replaces_one_of_its_size_fits_at_any_time() {
        let quota = Quota::new(1000 * LINE_BYTES);
        quota.share_among(1000);
        let mut last = parse(&quota, 0, 900);
        let _other = parse(&quota, 0, 100);
        for _ in 0..3 {
            let mut next = parse(&quota, last.n_bytes(), 900);
            assert_eq!(next.n_stats(), 900);
            drop(last);
            next.charge_beyond(0);
            assert_eq!(quota.used_bytes.load(Ordering::Relaxed), 1000 * LINE_BYTES);
            last = next;
        }
    }

    #[test]
    fn an_unfinished_snapshot_returns_its_charge() {
        let quota = Quota::new(100 * LINE_BYTES);
        let mut builder = builder(&quota, 0);
        builder.feed(&lines(50)).unwrap();
        assert_eq!(quota.used_bytes.load(Ordering::Relaxed), 50 * LINE_BYTES);
        drop(builder);
        assert_eq!(quota.used_bytes.load(Ordering::Relaxed), 0);
    }
}
