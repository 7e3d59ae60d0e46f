//! The names that one thread used lately: from a name made at run time to its slot, without the directory's lock.
//!
//! Owns a small table for each thread with a number. It only guesses: whoever asks compares the name itself.
//! Called by `registry`.
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

    /// Returns the slot that the calling thread remembers for the key, if it `is_right`.
    #[inline]
    pub(crate) fn find(&self, key: Key, is_right: impl FnOnce(usize) -> bool) -> Option<usize> {
        // Relaxed: only this thread writes here.
        let [newest, older] = self.ways(key)?.each_ref().map(|way| way.load(Ordering::Relaxed));
        let is_tagged = |entry: u32| (entry ^ key.0) & TAG == 0;
        // Two names of one place and one tag are too rare for a second comparison.
        let entry = if is_tagged(newest) { newest } else { older };
        // Nothing is remembered as slot zero less one, which is none.
        let idx = (entry & !TAG) as usize;
        (is_tagged(entry) && is_right(idx.wrapping_sub(1))).then(|| idx.wrapping_sub(1))
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
