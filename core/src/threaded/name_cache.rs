//! The names that one thread used lately: from a name made at run time to its slot, without the directory's lock.
//!
//! Owns a small table for each thread with a number, and the comparison of what it remembers with the name itself.
//! Called by `slot`.
//!
//! Invariant: an entry is written by the thread of its row's number alone. A wrong or old entry costs time, nothing
//! else, because every guess is compared.

use core::hash::Hasher;

use crate::sync::{AtomicU32, Ordering, const_new, filled};
use crate::thread_number;

/// How many names of equal place are remembered.
const WAYS: usize = 2;

/// A table for each thread with a number, with twice as many places as there are slots.
pub(crate) struct NameCaches<const SLOTS: usize, const SHARDS: usize> {
    /// The upper half of a key and a slot's number plus one; 0 while empty.
    tables: [[[AtomicU32; WAYS]; SLOTS]; SHARDS],
}

/// What is kept of a name: its hash.
#[derive(Clone, Copy)]
pub(crate) struct Key(u32);

impl Key {
    #[inline]
    pub(crate) fn of(name: &[u8]) -> Self {
        let mut hasher = rustc_hash::FxHasher::default();
        hasher.write(name);
        let hash = hasher.finish();
        Self((hash ^ hash >> 32) as u32)
    }

    const fn tag(self) -> u32 {
        self.0 & TAG
    }
}

/// A slot's number plus one takes the lower bits: no directory has more than 65536.
const TAG: u32 = !0x1_ffff;

impl<const SLOTS: usize, const SHARDS: usize> NameCaches<SLOTS, SHARDS> {
    const_new! {
        pub(crate) fn new() -> Self {
            Self { tables: filled![filled![filled![AtomicU32::new(0); WAYS]; SLOTS]; SHARDS] }
        }
    }

    /// Returns the slot that the calling thread remembers for the key, if the name is that of this slot.
    #[inline]
    pub(crate) fn find<'r>(
        &self,
        key: Key,
        name: &[u8],
        name_at: impl FnOnce(usize) -> Option<&'r [u8]>,
    ) -> Option<usize> {
        // Relaxed: only this thread writes here.
        let [newest, older] = self.ways(key)?.each_ref().map(|way| way.load(Ordering::Relaxed));
        let is_tagged = |entry: u32| (entry ^ key.0) & TAG == 0;
        // Two names of one place and one tag are too rare for a second comparison.
        let entry = if is_tagged(newest) { newest } else { older };
        // Nothing is remembered as slot zero less one, which is none.
        let idx = (entry & !TAG) as usize;
        let idx = idx.wrapping_sub(1);
        (is_tagged(entry) && is_equal(name_at(idx)?, name)).then_some(idx)
    }

    /// Remembers a slot; forgets the one that was remembered longest ago of this place.
    pub(crate) fn remember(&self, key: Key, idx: usize) {
        let Some([newest, older]) = self.ways(key) else { return };
        older.store(newest.load(Ordering::Relaxed), Ordering::Relaxed);
        newest.store(key.tag() | (idx as u32 + 1), Ordering::Relaxed);
    }

    /// Returns the key's places in the calling thread's table.
    #[inline]
    fn ways(&self, key: Key) -> Option<&[AtomicU32; WAYS]> {
        // Without slots there is no place, and no remainder.
        let place = (key.0 as usize).checked_rem(SLOTS)?;
        // Each row has as many places: one comparison.
        self.tables.as_flattened().get(thread_number::current().times(SLOTS).wrapping_add(place))
    }
}

/// Compares in place, eight bytes at a time: for names, calling the C library's `memcmp` takes longer than its work.
#[inline]
fn is_equal(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    match (left.last_chunk::<8>(), right.last_chunk::<8>()) {
        // The last eight of both overlap the eights before them.
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
}
