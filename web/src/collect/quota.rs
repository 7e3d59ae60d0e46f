//! How much memory the snapshots of all processes may take, and how many names.
//!
//! Owns one byte counter for all snapshots, and the rule when there is too much: the largest snapshots keep their first
//! stats, up to a size that is the same for all, and the rest is left out and counted. So a process that says much costs
//! those that say little nothing. It knows no pipe.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use statvent_core::line::Number;

use super::snapshot::ProcessSnapshot;

/// The most stats of different names in one collection.
pub const MAX_NAMES: usize = 65_536;

/// The most bytes that those names and very large integers may take in an answer.
pub const MAX_NAME_BYTES: usize = 8 << 20;

/// The most memory for the snapshots of one collection.
pub const MAX_TOTAL_BYTES: usize = 12 << 20;

/// The most bytes that a byte of a name becomes where it has to be escaped.
const LONGEST_ESCAPE: usize = 6;

/// The byte counter of all snapshots, and the share that each process has in any case.
///
/// After a collection the snapshots fit the limit. While one is made, what is charged is at most twice as much: the shares
/// come on top. A new snapshot is charged only for what it takes beyond the one that it replaces, so the memory is at most
/// three times the limit for as long as both are there.
///
/// `Relaxed`: one thread collects; the counter orders nothing.
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

/// What one snapshot is charged; given back when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Charge {
    /// None: not counted, as for a snapshot that is parsed outside a collection.
    quota: Option<Arc<Quota>>,
    /// The size of the snapshot that will be replaced, which is charged already.
    replaced_bytes: usize,
    charged_bytes: usize,
}

impl Charge {
    pub(super) fn new(quota: &Arc<Quota>, replaced_bytes: usize) -> Self {
        Self { quota: Some(Arc::clone(quota)), replaced_bytes, charged_bytes: 0 }
    }

    /// The most bytes that the snapshot may take at the moment.
    pub(super) fn limit_bytes(&self) -> usize {
        self.quota.as_ref().map_or(usize::MAX, |quota| {
            let share_bytes = quota.share_bytes.load(Ordering::Relaxed);
            share_bytes.max(self.replaced_bytes + self.charged_bytes + quota.left_bytes())
        })
    }

    /// Charges what the snapshot takes now, beyond what the replaced one took.
    pub(super) fn set(&mut self, n_bytes: usize) {
        let charged_bytes = n_bytes.saturating_sub(self.replaced_bytes);
        if let Some(quota) = &self.quota {
            quota.used_bytes.fetch_add(charged_bytes, Ordering::Relaxed);
            quota.used_bytes.fetch_sub(self.charged_bytes, Ordering::Relaxed);
        }
        self.charged_bytes = charged_bytes;
    }

    /// Charges what it takes beyond another snapshot than before.
    pub(super) fn replace(&mut self, replaced_bytes: usize, n_bytes: usize) {
        self.replaced_bytes = replaced_bytes;
        self.set(n_bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Cuts the largest snapshots off to one size, so that all fit.
pub(super) fn enforce_memory_limit(snapshots: &mut [&mut ProcessSnapshot], limit_bytes: usize) {
    snapshots.sort_by_key(|snapshot| snapshot.n_bytes());
    let (mut left_bytes, mut n_left) = (limit_bytes, snapshots.len());
    for snapshot in snapshots {
        // What the smaller ones do not need is divided among the larger ones.
        snapshot.truncate_to(left_bytes / n_left);
        left_bytes -= snapshot.n_bytes();
        n_left -= 1;
    }
}

/// Cuts snapshots off until all names fit: those with the fewest stats keep theirs first.
///
/// Cost: a hash of each name where there are more stats than names are allowed; else next to nothing.
pub(super) fn enforce_name_limit(
    snapshots: &mut [&mut ProcessSnapshot],
    max_names: usize,
    max_name_bytes: usize,
) {
    let n_stats: usize = snapshots.iter().map(|snapshot| snapshot.n_stats()).sum();
    let n_bytes: usize = snapshots.iter().map(|snapshot| snapshot.n_bytes()).sum();
    if n_stats <= max_names && n_bytes * LONGEST_ESCAPE <= max_name_bytes {
        return;
    }
    snapshots.sort_by_key(|snapshot| snapshot.n_stats());
    // Hashes instead of names: two of 65536 are equal once in billions of collections, and then one name more fits.
    let hasher = std::hash::RandomState::new();
    let mut names = HashSet::new();
    let mut n_name_bytes = 0;
    for snapshot in snapshots {
        let fits = |(name, value): (&[u8], Number<'_>)| {
            let hash = std::hash::BuildHasher::hash_one(&hasher, name);
            let is_new = !names.contains(&hash);
            let n_digits = if let Number::BigInt(digits) = value { digits.len() } else { 0 };
            let n_bytes = n_name_bytes + n_digits + if is_new { escaped_len(name) } else { 0 };
            let fits = n_bytes <= max_name_bytes && (!is_new || names.len() < max_names);
            if fits {
                names.insert(hash);
                n_name_bytes = n_bytes;
            }
            fits
        };
        let n_kept = snapshot.stats().map(fits).take_while(|fits| *fits).count();
        snapshot.truncate(n_kept);
    }
}

/// The most bytes that a name takes in a body.
fn escaped_len(name: &[u8]) -> usize {
    match str::from_utf8(name) {
        Ok(text) => {
            let is_escaped = |byte: &u8| byte.is_ascii_control() || matches!(byte, b'"' | b'\\');
            text.len() + text.bytes().filter(is_escaped).count() * (LONGEST_ESCAPE - 1)
        }
        Err(_) => name.len() * LONGEST_ESCAPE,
    }
}

#[cfg(test)]
mod tests {
    //! Properties: whatever the processes say, what is kept fits the limits; what fits as a whole is kept whole; what is
    //! left out is counted.

    use super::*;
    use crate::collect::SnapshotBuilder;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn kept(texts: &[impl AsRef<str>], max_names: usize, max_name_bytes: usize) -> Vec<usize> {
        let mut snapshots: Vec<_> =
            texts.iter().map(|text| ProcessSnapshot::parse(text.as_ref().as_bytes()).unwrap()).collect();
        let n_stats: Vec<_> = snapshots.iter().map(ProcessSnapshot::n_stats).collect();
        enforce_name_limit(&mut snapshots.iter_mut().collect::<Vec<_>>(), max_names, max_name_bytes);
        for (snapshot, n_stats) in snapshots.iter().zip(n_stats) {
            assert_eq!(snapshot.n_stats() + snapshot.n_omitted(), n_stats);
        }
        snapshots.iter().map(ProcessSnapshot::n_stats).collect()
    }

    const AMPLE: usize = usize::MAX;

    #[test]
    fn names_that_are_the_same_count_once() {
        let texts = ["a: 1\nb: 1\n", "a: 2\nb: 2\n", "b: 3\na: 3\n"];
        assert_eq!(kept(&texts, 2, AMPLE), [2, 2, 2]);
        assert_eq!(kept(&texts, AMPLE, 2), [2, 2, 2]);
        assert_eq!(kept(&texts, 1, AMPLE), [1, 1, 0]);
    }

    #[test]
    fn the_largest_is_cut_off_and_keeps_its_first_stats() {
        let texts = ["a: 1\nb: 1\nc: 1\nd: 1\n", "e: 1\n", "f: 1\ng: 1\n"];
        assert_eq!(kept(&texts, 4, AMPLE), [1, 1, 2]);
        assert_eq!(kept(&texts, AMPLE, 6), [3, 1, 2]);
    }

    #[test]
    fn what_has_to_be_escaped_and_large_integers_take_more() {
        for (line, n_bytes) in
            [("a\"\\: 1\n", 13), ("\u{1}.: 1\n", 7), ("é: 1\n", 2), ("a: 18446744073709551616\n", 21)]
        {
            assert_eq!(kept(&[line], AMPLE, n_bytes), [1], "{line}");
            assert_eq!(kept(&[line], AMPLE, n_bytes - 1), [0], "{line}");
        }
        assert_eq!(escaped_len(b"\xff.."), 18);
    }

    fn lines(n_stats: usize) -> Vec<u8> {
        (0..n_stats).flat_map(|n| format!("stat.{n:06}: 1\n").into_bytes()).collect()
    }

    /// A stat of these lines and its name.
    const LINE_BYTES: usize = 24 + 11;

    fn builder(quota: &Arc<Quota>, replaced_bytes: usize) -> SnapshotBuilder {
        SnapshotBuilder::within(Charge::new(quota, replaced_bytes))
    }

    fn read(quota: &Arc<Quota>, replaced_bytes: usize, n_stats: usize) -> ProcessSnapshot {
        let mut builder = builder(quota, replaced_bytes);
        lines(n_stats).chunks(7000).for_each(|chunk| builder.feed(chunk).unwrap());
        builder.finish()
    }

    #[test]
    fn a_process_beyond_the_limit_keeps_its_share_and_the_rest_is_counted() {
        let quota = Quota::new(1000 * LINE_BYTES);
        quota.share_among(10);
        let large = read(&quota, 0, 5000);
        assert_eq!((large.n_stats(), large.n_omitted()), (1000, 4000));
        let other = read(&quota, 0, 5000);
        assert_eq!((other.n_stats(), other.n_omitted()), (100, 4900));
        let small = read(&quota, 0, 50);
        assert_eq!((small.n_stats(), small.n_omitted()), (50, 0));
        drop((large, other, small));
        assert_eq!(quota.used_bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_snapshot_that_replaces_one_of_its_size_fits_at_any_time() {
        let quota = Quota::new(1000 * LINE_BYTES);
        quota.share_among(1000);
        let mut last = read(&quota, 0, 900);
        let _other = read(&quota, 0, 100);
        for _ in 0..3 {
            let mut next = read(&quota, last.n_bytes(), 900);
            assert_eq!(next.n_stats(), 900);
            drop(last);
            next.recharge(0);
            assert_eq!(quota.used_bytes.load(Ordering::Relaxed), 1000 * LINE_BYTES);
            last = next;
        }
    }

    #[test]
    fn the_largest_are_cut_off_to_one_size_and_the_others_are_whole() {
        for (n_stats, n_fit, expected) in [
            ([10, 900, 20, 500, 30], 360, [10, 150, 20, 150, 30]),
            ([100, 100, 100, 100, 100], 500, [100; 5]),
            ([1, 1, 1, 1, 9], 3, [0, 0, 1, 1, 1]),
        ] {
            let parse = |n_stats| ProcessSnapshot::parse(&lines(n_stats)).unwrap();
            let mut snapshots = n_stats.map(parse);
            enforce_memory_limit(&mut snapshots.iter_mut().collect::<Vec<_>>(), n_fit * LINE_BYTES);
            assert_eq!(snapshots.each_ref().map(ProcessSnapshot::n_stats), expected);
            let n_whole = snapshots.map(|snapshot| snapshot.n_stats() + snapshot.n_omitted());
            assert_eq!(n_whole, n_stats);
        }
    }

    #[test]
    fn what_is_not_finished_is_given_back() {
        let quota = Quota::new(100 * LINE_BYTES);
        let mut builder = builder(&quota, 0);
        builder.feed(&lines(50)).unwrap();
        assert_eq!(quota.used_bytes.load(Ordering::Relaxed), 50 * LINE_BYTES);
        drop(builder);
        assert_eq!(quota.used_bytes.load(Ordering::Relaxed), 0);
    }

    proptest! {
        #[test]
        fn what_is_kept_fits_and_the_smallest_go_first(
            processes in prop::collection::vec(prop::collection::vec("[a-f]{1,2}", 0..8), 0..8),
            max_names in 0usize..12,
        ) {
            let text = |names: &Vec<String>| names.iter().map(|name| format!("{name}: 1\n")).collect::<String>();
            let texts: Vec<_> = processes.iter().map(text).collect();
            let kept = kept(&texts, max_names, AMPLE);
            let names = |limit: usize| -> BTreeSet<&String> {
                processes.iter().zip(&kept).filter(|(names, _)| names.len() <= limit)
                    .flat_map(|(names, kept)| &names[..*kept]).collect()
            };
            prop_assert!(names(usize::MAX).len() <= max_names);
            for (process, kept) in processes.iter().zip(&kept).filter(|(process, kept)| **kept < process.len()) {
                // Its next name would not have fitted beside those of processes that are no larger.
                let mut names = names(process.len());
                names.insert(&process[*kept]);
                prop_assert!(names.len() > max_names);
            }
        }
    }
}
