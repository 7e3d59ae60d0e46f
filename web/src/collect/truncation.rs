//! Truncation of the largest snapshots of a scrape to the limits of one answer.
//!
//! Owns the rule: the largest snapshots keep their first stats, up to a size that is the same for all; the rest is left out
//! and counted. So a process with many stats costs those with few nothing. Pure: it must not touch pipes or clocks.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

use statvent_core::line::Number;

use super::snapshot::ProcessSnapshot;

/// The most bytes that one byte of a name becomes when it is escaped: `\u0000` in JSON.
const MAX_ESCAPED_BYTES: usize = 6;

/// Truncates the largest snapshots to one size, so that all fit.
pub(super) fn enforce_memory_limit(snapshots: &mut [&mut ProcessSnapshot], limit_bytes: usize) {
    snapshots.sort_by_key(|snapshot| snapshot.n_bytes());
    let (mut left_bytes, mut n_left) = (limit_bytes, snapshots.len());
    for snapshot in snapshots {
        // The larger ones share what the smaller ones do not need.
        snapshot.truncate_to(left_bytes / n_left);
        left_bytes -= snapshot.n_bytes();
        n_left -= 1;
    }
}

/// Truncates snapshots until all names fit: those with the fewest stats keep theirs first.
///
/// Cost: one hash for each stat if the limits may be exceeded; otherwise two sums over the snapshots.
pub(super) fn enforce_name_limit(
    snapshots: &mut [&mut ProcessSnapshot],
    max_names: usize,
    max_name_bytes: usize,
) {
    let n_stats: usize = snapshots.iter().map(|snapshot| snapshot.n_stats()).sum();
    let n_bytes: usize = snapshots.iter().map(|snapshot| snapshot.n_bytes()).sum();
    if n_stats <= max_names && n_bytes * MAX_ESCAPED_BYTES <= max_name_bytes {
        return;
    }
    snapshots.sort_by_key(|snapshot| snapshot.n_stats());
    // Hashes instead of names: two of 65536 collide once in billions of scrapes, and then one more name fits.
    let hasher = RandomState::new();
    let mut names = HashSet::new();
    let mut n_name_bytes = 0;
    for snapshot in snapshots {
        let fits = |(name, value): (&[u8], Number<'_>)| {
            let hash = hasher.hash_one(name);
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

/// Returns the most bytes that a name takes in an answer.
fn escaped_len(name: &[u8]) -> usize {
    match str::from_utf8(name) {
        Ok(text) => {
            let is_escaped = |byte: &u8| byte.is_ascii_control() || matches!(byte, b'"' | b'\\');
            text.len() + text.bytes().filter(is_escaped).count() * (MAX_ESCAPED_BYTES - 1)
        }
        Err(_) => name.len() * MAX_ESCAPED_BYTES,
    }
}

#[cfg(test)]
mod tests {
    //! Properties, for any snapshots: those that are kept fit the limits; if all fit, none is truncated; every stat that is
    //! left out is counted.

    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn kept(texts: &[impl AsRef<str>], max_names: usize, max_name_bytes: usize) -> Vec<usize> {
        let mut snapshots: Vec<_> =
            texts.iter().map(|text| ProcessSnapshot::parse(text.as_ref().as_bytes()).unwrap()).collect();
        let n_stats: Vec<_> = snapshots.iter().map(ProcessSnapshot::n_stats).collect();
        enforce_name_limit(&mut snapshots.iter_mut().collect::<Vec<_>>(), max_names, max_name_bytes);
        for (snapshot, n_stats) in snapshots.iter().zip(n_stats) {
            assert_eq!(snapshot.n_stats() + snapshot.n_left_out(), n_stats);
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
    fn the_largest_snapshot_keeps_its_first_stats() {
        let texts = ["a: 1\nb: 1\nc: 1\nd: 1\n", "e: 1\n", "f: 1\ng: 1\n"];
        assert_eq!(kept(&texts, 4, AMPLE), [1, 1, 2]);
        assert_eq!(kept(&texts, AMPLE, 6), [3, 1, 2]);
    }

    #[test]
    fn escaped_bytes_and_large_integers_take_more() {
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

    /// The memory of one of these lines: a stat and its name.
    const LINE_BYTES: usize = 24 + 11;

    #[test]
    fn the_largest_are_truncated_to_one_size_and_the_others_are_complete() {
        for (n_stats, n_fit, expected) in [
            ([10, 900, 20, 500, 30], 360, [10, 150, 20, 150, 30]),
            ([100, 100, 100, 100, 100], 500, [100; 5]),
            ([1, 1, 1, 1, 9], 3, [0, 0, 1, 1, 1]),
        ] {
            let parse = |n_stats| ProcessSnapshot::parse(&lines(n_stats)).unwrap();
            let mut snapshots = n_stats.map(parse);
            enforce_memory_limit(&mut snapshots.iter_mut().collect::<Vec<_>>(), n_fit * LINE_BYTES);
            assert_eq!(snapshots.each_ref().map(ProcessSnapshot::n_stats), expected);
            let n_all = snapshots.map(|snapshot| snapshot.n_stats() + snapshot.n_left_out());
            assert_eq!(n_all, n_stats);
        }
    }

    proptest! {
        #[test]
        fn kept_names_fit_and_the_smallest_snapshots_keep_theirs_first(
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
                // Its next name would not fit beside those of processes that are no larger.
                let mut names = names(process.len());
                names.insert(&process[*kept]);
                prop_assert!(names.len() > max_names);
            }
        }
    }
}
