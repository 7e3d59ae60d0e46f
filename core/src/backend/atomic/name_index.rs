//! Hash table from names to indexes that is read without a lock.
//!
//! Owns a table of indexes with open addressing, and the comparison of names. `directory` stores the names and lets
//! one thread insert at a time.
//!
//! Invariant: a slot is written once, after the name of its index was published. Nothing is ever removed, so a
//! search that ended at a free slot may continue from there.

use core::hash::Hasher;

use crate::sync::{AtomicU32, Ordering, const_new, filled};

/// The table, with two slots per name so that searches are short.
pub(crate) struct NameIndex<const N: usize> {
    /// Each slot holds the upper bits of a hash and an index plus one, or 0 while it is free.
    buckets: [[AtomicU32; 2]; N],
}

/// A hash, and the number of slots from its first bucket on that hold other names.
#[derive(Clone, Copy)]
pub(crate) struct SearchCursor {
    hash: u32,
    n_skipped: usize,
}

/// The lower 17 bits hold an index plus one: a registry has at most 65536 names.
const TAG: u32 = !0x1_ffff;

impl SearchCursor {
    /// Returns the start of the search for a name.
    #[inline]
    pub(crate) fn start(name: &[u8]) -> Self {
        let mut hasher = rustc_hash::FxHasher::default();
        hasher.write(name);
        let hash = hasher.finish();
        let hash = (hash ^ hash >> 32) as u32;
        Self { hash, n_skipped: 0 }
    }

    #[inline]
    fn matches_tag(self, entry: u32) -> bool {
        (entry ^ self.hash) & TAG == 0
    }
}

/// Returns the index in a slot's entry; for a free slot an index beyond all names.
#[inline]
fn idx_in(entry: u32) -> usize {
    ((entry & !TAG) as usize).wrapping_sub(1)
}

impl<const N: usize> NameIndex<N> {
    const_new! {
        pub(crate) fn new() -> Self {
            Self { buckets: filled![filled![AtomicU32::new(0); 2]; N] }
        }
    }

    /// Searches only the first bucket, which holds nearly every name. Always inlined: this makes calls by name
    /// fast.
    #[inline(always)]
    pub(crate) fn find_fast<'r>(
        &self,
        name: &[u8],
        name_at: impl Fn(usize) -> Option<&'r [u8]>,
    ) -> Option<usize> {
        let start = SearchCursor::start(name);
        // Acquire as in `search`.
        let [first, second] = self.bucket(start)?.each_ref().map(|slot| slot.load(Ordering::Acquire));
        // Two names with the same bucket and tag are too rare to compare twice.
        let entry = if start.matches_tag(first) { first } else { second };
        let idx = idx_in(entry);
        (start.matches_tag(entry) && is_equal(name_at(idx)?, name)).then_some(idx)
    }

    /// Returns the index of the name, or the free slot for it.
    pub(crate) fn search<'r>(
        &self,
        from: SearchCursor,
        name: &[u8],
        name_at: impl Fn(usize) -> Option<&'r [u8]>,
    ) -> Result<usize, SearchCursor> {
        let mut at = from;
        while let Some(slot) = self.slot(at) {
            // Acquire pairs with the Release in `insert`: the name of this index is visible.
            let entry = slot.load(Ordering::Acquire);
            let idx = idx_in(entry);
            if at.matches_tag(entry) && name_at(idx).is_some_and(|found| is_equal(found, name)) {
                return Ok(idx);
            }
            if entry == 0 {
                break;
            }
            at.n_skipped += 1;
        }
        Err(at)
    }

    /// Stores the index of a name in a free slot.
    pub(crate) fn insert(&self, cursor: SearchCursor, idx: usize) {
        if let Some(slot) = self.slot(cursor) {
            // Release pairs with the Acquire in `search`.
            slot.store(cursor.hash & TAG | (idx as u32 + 1), Ordering::Release);
        }
    }

    /// Returns the bucket where a search starts.
    #[inline]
    fn bucket(&self, start: SearchCursor) -> Option<&[AtomicU32; 2]> {
        // `None` if the capacity is zero.
        self.buckets.get((start.hash as usize).checked_rem(N)?)
    }

    fn slot(&self, at: SearchCursor) -> Option<&AtomicU32> {
        let slots = self.buckets.as_flattened();
        let first = (at.hash as usize).checked_rem(N)? * 2;
        slots.get((first + at.n_skipped) % slots.len())
    }
}

/// Compares eight bytes at a time, inline: for short names a call of the C library's `memcmp` takes longer than the
/// comparison.
#[inline]
fn is_equal(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    match (left.last_chunk::<8>(), right.last_chunk::<8>()) {
        // The last eight bytes overlap the chunks before them.
        (Some(left_end), Some(right_end)) => {
            let mut eights = left.as_chunks::<8>().0.iter().zip(right.as_chunks::<8>().0);
            left_end == right_end && eights.all(|(left, right)| left == right)
        }
        _ if left.len() >= 4 => {
            left.first_chunk::<4>() == right.first_chunk() && left.last_chunk::<4>() == right.last_chunk()
        }
        _ => left.iter().zip(right).all(|(left, right)| left == right),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn names_are_equal_if_every_byte_is() {
        let name: Vec<u8> = (0..40).collect();
        for n_bytes in 0..name.len() {
            assert!(is_equal(&name[..n_bytes], &name.clone()[..n_bytes]));
            assert!(!is_equal(&name[..n_bytes], &name[..n_bytes + 1]));
            for idx in 0..n_bytes {
                let mut other = name.clone();
                other[idx] ^= 1;
                assert!(!is_equal(&name[..n_bytes], &other[..n_bytes]), "{n_bytes} {idx}");
            }
        }
    }

    #[test]
    fn names_of_equal_hash_get_different_slots_around_the_end_of_the_table() {
        let names: [&[u8]; 3] = [b"a", b"b", b"c"];
        for slot in 0..3 {
            let index = NameIndex::<3>::new();
            let start = SearchCursor { hash: 7 << 17 | slot, n_skipped: 0 };
            let search = |name, n_known| index.search(start, name, |idx| names[..n_known].get(idx).copied());
            for round in 0..2 {
                for (idx, name) in names.into_iter().enumerate() {
                    match search(name, if round == 0 { idx } else { 3 }) {
                        Ok(found) => assert_eq!((found, round), (idx, 1)),
                        Err(cursor) => {
                            assert_eq!(round, 0);
                            index.insert(cursor, idx);
                        }
                    }
                }
            }
            assert!(search(b"d", 3).is_err());
        }
    }
}
