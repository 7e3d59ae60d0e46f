//! From a name to the number of its slot: a fixed-capacity directory that only grows.
//!
//! Owns what is kept of a name, and how a new one is published. How a name is found is `search`'s, of which there are
//! two. It does not know what a slot holds, and takes names as checked. Called by `registry` at a name's first use;
//! readers walk its [`View`] without the lock.

#![allow(unsafe_code, reason = "appends to the shared array under the directory's own lock")]

use crate::append::{Append, View};
use crate::arena::{Arena, NewName, StoredName};
use crate::sync::Lock;

/// The directory: `I` is what names are found by, `M` is kept beside each name, `N` is the capacity.
pub(crate) struct Directory<I, M, const N: usize> {
    pub(crate) index: Lock<I>,
    pub(crate) entries: Append<Entry<M>, N>,
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

impl<I, M: Copy, const N: usize> Directory<I, M, N> {
    /// Returns the name of a slot, if it is one. Takes no lock.
    #[inline]
    pub(crate) fn name_at<'r, const B: usize>(&'r self, idx: usize, arena: &'r Arena<B>) -> Option<&'r [u8]> {
        Some(self.entries.view().get(idx)?.name.bytes(arena.view()))
    }

    pub(crate) fn view(&self) -> View<'_, Entry<M>> {
        self.entries.view()
    }

    /// Keeps new names out while held.
    #[cfg(feature = "std")]
    pub(crate) fn gate(&self) -> &crate::sync::Gate {
        self.index.gate()
    }

    /// Appends a name that is not there. Before it is published, `prepare` is called with its number, so that no reader
    /// sees the slot without its first value.
    ///
    /// The lock's value, which is that of this directory's `index`, says that nobody else appends.
    pub(crate) fn append<const B: usize>(
        &self,
        _alone: &mut I,
        name: NewName<'_>,
        meta: M,
        arena: &Arena<B>,
        prepare: impl FnOnce(usize),
    ) -> Result<usize, Full> {
        let idx = self.entries.next_idx();
        if idx == N {
            return Err(Full::Slots);
        }
        let entry = Entry { name: arena.keep(name).ok_or(Full::NameBytes)?, meta };
        prepare(idx);
        // SAFETY: `push_all` wants one caller at a time, and the lock is held around its only call.
        let pushed = unsafe { self.entries.push_all(&[entry]) };
        debug_assert_eq!(pushed, Some(idx as u32..idx as u32 + 1));
        Ok(idx)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    //! Properties: a name keeps its number; numbers follow the order of insertion; full means full and loses
    //! nothing.

    use super::*;
    use crate::search::{Index, SeriesIndex, StatIndex};
    use proptest::prelude::*;
    use std::{format, vec::Vec};

    type Stats<const N: usize> = Directory<StatIndex<N>, (), N>;

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
        let (directory, arena) = (Stats::<4>::new(), Arena::<64>::new());
        for idx in 0..4 {
            assert_eq!(put(&directory, format!("n{idx}").as_bytes(), &arena), Ok(idx));
        }
        assert_eq!(put(&directory, b"n4", &arena), Err(Full::Slots));
        assert_eq!(put(&directory, b"n2", &arena), Ok(2));
        assert_eq!(directory.find(b"n4", &arena), None);
    }

    #[test]
    fn a_name_that_does_not_fit_the_arena_takes_no_slot() {
        let (directory, arena) = (Stats::<4>::new(), Arena::<4>::new());
        assert_eq!(put(&directory, b"too long", &arena), Err(Full::NameBytes));
        assert_eq!(put(&directory, b"fits", &arena), Ok(0));
        assert_eq!(directory.find(b"too long", &arena), None);
    }

    #[test]
    fn a_slot_is_prepared_before_anybody_sees_it() {
        let (directory, arena) = (Stats::<2>::new(), Arena::<8>::new());
        let found = directory.find_or_insert(NewName::Literal("n"), (), &arena, |idx| {
            assert_eq!((idx, directory.view().len()), (0, 0));
        });
        assert_eq!((found, directory.view().len()), (Ok(Found::New(0)), 1));
    }

    #[test]
    fn a_directory_of_series_serves_capacities_zero_and_one() {
        let arena = Arena::<8>::new();
        let none = Directory::<SeriesIndex<0>, (), 0>::new();
        assert_eq!(put(&none, b"a", &arena), Err(Full::Slots));
        let one = Directory::<SeriesIndex<1>, (), 1>::new();
        assert_eq!(put(&one, b"a", &arena), Ok(0));
        assert_eq!(put(&one, b"b", &arena), Err(Full::Slots));
        assert_eq!(put(&one, b"a", &arena), Ok(0));
    }

    proptest! {
        #[test]
        fn a_plain_list_agrees(names in prop::collection::vec("[a-c]{1,3}", 0..60)) {
            let (directory, arena) = (Stats::<16>::new(), Arena::<40>::new());
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
