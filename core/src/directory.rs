//! From a name to the number of its slot: a fixed-capacity directory that only grows.
//!
//! Owns the search and hides its containers. It does not know what a slot holds, and takes names as checked.
//! Called by `registry` at a name's first use; readers walk its [`View`] without the lock.

#![allow(unsafe_code, reason = "appends to the shared array under the directory's own lock")]

use core::hash::Hasher;

use hash32::BuildHasherDefault;
use heapless::{IndexMap, LinearMap};

use crate::append::{Append, View};
use crate::arena::{Arena, NewName, StoredName};
use crate::sync::{Lock, const_new};

/// The directory: `I` finds the number of a hash, `M` is kept beside each name, `N` is the capacity.
pub(crate) struct Directory<I, M, const N: usize> {
    index: Lock<I>,
    entries: Append<Entry<M>, N>,
}

/// What is kept of a name.
#[derive(Clone, Copy)]
pub(crate) struct Entry<M> {
    pub(crate) name: StoredName,
    pub(crate) meta: M,
}

/// What stood in the way of a new name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Full {
    Slots,
    NameBytes,
}

/// Where a name was found, or put.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Found {
    Known(usize),
    /// New, with the value that it was published with.
    New(usize),
}

impl Found {
    pub(crate) fn idx(self) -> usize {
        match self {
            Self::Known(idx) | Self::New(idx) => idx,
        }
    }
}

impl<I: Index, M: Copy, const N: usize> Directory<I, M, N> {
    pub(crate) fn find<const B: usize>(&self, name: &[u8], arena: &Arena<B>) -> Option<usize> {
        self.index.with(|index| self.search(index, name, arena).ok())
    }

    /// Says whether the slot is that of the name. Takes no lock.
    #[inline]
    pub(crate) fn is_at<const B: usize>(&self, idx: usize, name: &[u8], arena: &Arena<B>) -> bool {
        self.entries.view().get(idx).is_some_and(|entry| entry.name.bytes(arena.view()) == name)
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
            let idx = self.entries.next_idx();
            if idx == N {
                return Err(Full::Slots);
            }
            let entry = Entry { name: arena.keep(name).ok_or(Full::NameBytes)?, meta };
            index.insert(free_hash, idx);
            prepare(idx);
            // SAFETY: `push_all` wants one caller at a time, and the lock is held around its only call.
            let pushed = unsafe { self.entries.push_all(&[entry]) };
            debug_assert_eq!(pushed, Some(idx as u32..idx as u32 + 1));
            Ok(Found::New(idx))
        })
    }

    pub(crate) fn view(&self) -> View<'_, Entry<M>> {
        self.entries.view()
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
pub(crate) type HashIndex<const N: usize> = IndexMap<u32, (), BuildHasherDefault<AlreadyHashed>, N>;

impl<const N: usize> Index for HashIndex<N> {
    fn get(&self, hash: u32) -> Option<usize> {
        self.get_index_of(&hash)
    }

    fn insert(&mut self, hash: u32, idx: usize) {
        let inserted = IndexMap::insert(self, hash, ());
        debug_assert!(inserted == Ok(None) && self.len() == idx + 1);
    }
}

/// For few names, down to none: time grows with their number.
pub(crate) type LinearIndex<const N: usize> = LinearMap<u32, (), N>;

impl<const N: usize> Index for LinearIndex<N> {
    fn get(&self, hash: u32) -> Option<usize> {
        self.keys().position(|key| *key == hash)
    }

    fn insert(&mut self, hash: u32, idx: usize) {
        let inserted = LinearMap::insert(self, hash, ());
        debug_assert!(inserted == Ok(None) && self.len() == idx + 1);
    }
}

impl<M: Copy, const N: usize> Directory<HashIndex<N>, M, N> {
    const_new! {
        pub(crate) fn new() -> Self {
            const {
                assert!(
                    N.is_power_of_two() && N >= 2 && N <= 65536,
                    "STATS must be a power of two from 2 to 65536"
                );
            };
            Self { index: Lock::new(IndexMap::new()), entries: Append::new() }
        }
    }
}

impl<M: Copy, const N: usize> Directory<LinearIndex<N>, M, N> {
    const_new! {
        pub(crate) fn new() -> Self {
            const { assert!(N <= 4096, "SERIES must be at most 4096") };
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
    //! Properties: a name keeps its number; numbers follow the order of insertion; full means full and loses
    //! nothing; names of equal hash stay apart.

    use super::*;
    use proptest::prelude::*;
    use std::{format, vec::Vec};

    type Hashed<const N: usize> = Directory<HashIndex<N>, (), N>;

    fn put<I: Index, const N: usize, const B: usize>(
        directory: &Directory<I, (), N>,
        name: &[u8],
        arena: &Arena<B>,
    ) -> Result<usize, Full> {
        directory.find_or_insert(NewName::Borrowed(name), (), arena, |_| ()).map(|found| match found {
            Found::Known(idx) | Found::New(idx) => idx,
        })
    }

    #[test]
    fn a_full_directory_still_finds_what_it_has() {
        let (directory, arena) = (Hashed::<4>::new(), Arena::<64>::new());
        for idx in 0..4 {
            assert_eq!(put(&directory, format!("n{idx}").as_bytes(), &arena), Ok(idx));
        }
        assert_eq!(put(&directory, b"n4", &arena), Err(Full::Slots));
        assert_eq!(put(&directory, b"n2", &arena), Ok(2));
        assert_eq!(directory.find(b"n4", &arena), None);
    }

    #[test]
    fn a_name_that_does_not_fit_the_arena_takes_no_slot() {
        let (directory, arena) = (Hashed::<4>::new(), Arena::<4>::new());
        assert_eq!(put(&directory, b"too long", &arena), Err(Full::NameBytes));
        assert_eq!(put(&directory, b"fits", &arena), Ok(0));
        assert_eq!(directory.find(b"too long", &arena), None);
    }

    #[test]
    fn a_slot_is_prepared_before_anybody_sees_it() {
        let (directory, arena) = (Hashed::<2>::new(), Arena::<8>::new());
        let found = directory.find_or_insert(NewName::Literal("n"), (), &arena, |idx| {
            assert_eq!((idx, directory.view().len()), (0, 0));
        });
        assert_eq!((found, directory.view().len()), (Ok(Found::New(0)), 1));
    }

    #[test]
    fn the_linear_index_serves_capacities_zero_and_one() {
        let arena = Arena::<8>::new();
        let none = Directory::<LinearIndex<0>, (), 0>::new();
        assert_eq!(put(&none, b"a", &arena), Err(Full::Slots));
        let one = Directory::<LinearIndex<1>, (), 1>::new();
        assert_eq!(put(&one, b"a", &arena), Ok(0));
        assert_eq!(put(&one, b"b", &arena), Err(Full::Slots));
        assert_eq!(put(&one, b"a", &arena), Ok(0));
    }

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
                assert_eq!(put(&directory, &[b'a' + idx as u8], &arena), Ok(idx), "round {round}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_plain_list_agrees(names in prop::collection::vec("[a-c]{1,3}", 0..60)) {
            let (directory, arena) = (Hashed::<16>::new(), Arena::<40>::new());
            let mut list: Vec<&str> = Vec::new();
            for name in &names {
                let n_bytes: usize = list.iter().map(|name| name.len()).sum();
                let expected = match list.iter().position(|known| known == name) {
                    Some(idx) => Ok(idx),
                    None if list.len() == 16 => Err(Full::Slots),
                    None if n_bytes + name.len() > 40 => Err(Full::NameBytes),
                    None => {
                        list.push(name);
                        Ok(list.len() - 1)
                    }
                };
                prop_assert_eq!(put(&directory, name.as_bytes(), &arena), expected);
            }
            let stored: Vec<_> = (0..list.len())
                .map(|idx| directory.view().get(idx).unwrap().name.bytes(arena.view()))
                .collect();
            prop_assert_eq!(stored, list.iter().map(|name| name.as_bytes()).collect::<Vec<_>>());
        }
    }
}
