//! How a name is found among many: by its hash, under the directory's lock.
//!
//! Owns the search and hides its containers. What is kept of a name is `directory`'s. Called by `slot` at a name's
//! first use. Programs with interrupts search as `masked::search` does, without a table.

use core::hash::Hasher;

use hash32::BuildHasherDefault;
use heapless::{IndexMap, LinearMap};

use crate::append::Append;
use crate::arena::{Arena, NewName};
use crate::directory::{Directory, Found, Full};
use crate::sync::{Lock, const_new};

impl<I: Index, M: Copy, const N: usize> Directory<I, M, N> {
    pub(crate) fn find<const B: usize>(&self, name: &[u8], arena: &Arena<B>) -> Option<usize> {
        self.index.with(|index| self.search(index, name, arena).ok())
    }

    /// Finds the name or appends it. Before a new one is published, `prepare` is called with its number, so that
    /// no reader sees the slot without its first value.
    ///
    /// Two threads with the same new name: the lock lets one append it, the other finds it.
    pub(crate) fn find_or_insert<const B: usize>(
        &self,
        name: NewName<'_>,
        meta: M,
        arena: &Arena<B>,
        prepare: impl FnOnce(usize),
    ) -> Result<Found, Full> {
        self.index.with(|index| {
            let free_hash = match self.search(index, name.bytes(), arena) {
                Ok(idx) => return Ok(Found::Known(idx)),
                Err(free_hash) => free_hash,
            };
            let idx = self.append(index, name, meta, arena, prepare)?;
            index.insert(free_hash, idx);
            Ok(Found::New(idx))
        })
    }

    /// The number of the name, or else the first of its hashes that no other name has.
    ///
    /// A name has a sequence of hashes; it stands at the first that was free when it came. As nothing is ever
    /// removed, whoever looks for it meets the same names before it. All names differ, so the sequence ends.
    fn search<const B: usize>(&self, index: &I, name: &[u8], arena: &Arena<B>) -> Result<usize, u32> {
        let (entries, arena) = (self.entries.view(), arena.view());
        let mut attempt = 0;
        loop {
            let hash = hash(name, attempt);
            match index.get(hash) {
                None => return Err(hash),
                Some(idx) if entries.get(idx).is_some_and(|entry| entry.name.bytes(arena) == name) => {
                    return Ok(idx);
                }
                Some(_) => attempt += 1,
            }
        }
    }
}

fn hash(name: &[u8], attempt: u32) -> u32 {
    let mut hasher = rustc_hash::FxHasher::default();
    hasher.write(name);
    hasher.write_u32(attempt);
    let hash = hasher.finish();
    (hash ^ hash >> 32) as u32
}

/// From hashes to numbers, given in the order 0, 1, 2, ...
pub(crate) trait Index {
    fn get(&self, hash: u32) -> Option<usize>;
    /// Called while there is room and with a hash that is not there.
    fn insert(&mut self, hash: u32, idx: usize);
}

/// For many names: constant time; wants a power of two of at least 2.
pub(crate) type StatIndex<const N: usize> = IndexMap<u32, (), BuildHasherDefault<AlreadyHashed>, N>;

impl<const N: usize> Index for StatIndex<N> {
    fn get(&self, hash: u32) -> Option<usize> {
        self.get_index_of(&hash)
    }

    fn insert(&mut self, hash: u32, idx: usize) {
        let inserted = IndexMap::insert(self, hash, ());
        debug_assert!(inserted == Ok(None) && self.len() == idx + 1);
    }
}

/// For few names, down to none: time grows with their number.
pub(crate) type SeriesIndex<const N: usize> = LinearMap<u32, (), N>;

impl<const N: usize> Index for SeriesIndex<N> {
    fn get(&self, hash: u32) -> Option<usize> {
        self.keys().position(|key| *key == hash)
    }

    fn insert(&mut self, hash: u32, idx: usize) {
        let inserted = LinearMap::insert(self, hash, ());
        debug_assert!(inserted == Ok(None) && self.len() == idx + 1);
    }
}

impl<M: Copy, const N: usize> Directory<StatIndex<N>, M, N> {
    const_new! {
        pub(crate) fn new() -> Self {
            Self { index: Lock::new(IndexMap::new()), entries: Append::new() }
        }
    }
}

impl<M: Copy, const N: usize> Directory<SeriesIndex<N>, M, N> {
    const_new! {
        pub(crate) fn new() -> Self {
            Self { index: Lock::new(LinearMap::new()), entries: Append::new() }
        }
    }
}

/// Takes the key for its own hash.
#[derive(Default)]
pub(crate) struct AlreadyHashed(u32);

impl Hasher for AlreadyHashed {
    fn write(&mut self, bytes: &[u8]) {
        // Only `u32`s come here; anything else would still be hashed, just badly.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u32::from(*byte);
        }
    }

    fn write_u32(&mut self, hash: u32) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        u64::from(self.0)
    }
}

impl hash32::Hasher for AlreadyHashed {
    fn finish32(&self) -> u32 {
        self.0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// An index in which all names meet at hash 0 first, then at 1, and so on.
    struct Colliding(Vec<u32>);

    impl Index for Colliding {
        fn get(&self, hash: u32) -> Option<usize> {
            self.0.iter().position(|known| *known % 4 == hash % 4)
        }

        fn insert(&mut self, hash: u32, _: usize) {
            self.0.push(hash);
        }
    }

    #[test]
    fn names_of_equal_hash_stay_apart() {
        let arena = Arena::<64>::new();
        let directory =
            Directory::<Colliding, (), 4> { index: Lock::new(Colliding(Vec::new())), entries: Append::new() };
        for round in 0..2 {
            for idx in 0..3 {
                let name = [b'a' + idx as u8];
                let found = directory.find_or_insert(NewName::Borrowed(&name), (), &arena, |_| ());
                assert_eq!(found.map(Found::idx), Ok(idx), "round {round}");
            }
        }
    }
}
