//! Directory of fixed capacity that maps a name to its index.
//!
//! Owns the stored names and the publication of a new one. [`NameIndex`] owns the search. The directory does not
//! know what is stored at an index, and does not check names. Only a new name takes the lock.

use crate::backend::{NameIndex, SearchCursor};
use crate::names::append_vec::{AppendVec, AppendVecView};
use crate::names::arena::{Arena, NewName, StoredName};
use crate::sync::const_new;

/// Directory of at most `N` names.
pub(crate) struct Directory<const N: usize> {
    pub(crate) names: AppendVec<StoredName, N>,
    index: NameIndex<N>,
}

/// Reason why a new name was not stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Full {
    Slots,
    NameBytes,
}

/// Index of a name, and whether the name is new.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Registered {
    Existing(usize),
    /// The name is new and was published with its first value.
    Inserted(usize),
}

impl Registered {
    pub(crate) fn idx(self) -> usize {
        match self {
            Self::Existing(idx) | Self::Inserted(idx) => idx,
        }
    }
}

impl<const N: usize> Directory<N> {
    const_new! {
        pub(crate) fn new() -> Self {
            Self { names: AppendVec::new(), index: NameIndex::new() }
        }
    }

    pub(crate) fn view(&self) -> AppendVecView<'_, StoredName> {
        self.names.view()
    }

    /// Returns the index of a name, or `None` for unknown names and a few known ones. Takes no lock.
    #[inline]
    pub(crate) fn find_fast<const B: usize>(&self, name: &[u8], arena: &Arena<B>) -> Option<usize> {
        self.index.find_fast(name, |idx| self.name_at(idx, arena))
    }

    /// Returns the index of the name, or the cursor at which the search ended. Takes no lock.
    pub(crate) fn find<const B: usize>(&self, name: &[u8], arena: &Arena<B>) -> Result<usize, SearchCursor> {
        self.search(SearchCursor::start(name), name, arena)
    }

    fn search<const B: usize>(
        &self,
        from: SearchCursor,
        name: &[u8],
        arena: &Arena<B>,
    ) -> Result<usize, SearchCursor> {
        self.index.search(from, name, |idx| self.name_at(idx, arena))
    }

    #[inline]
    fn name_at<'r, const B: usize>(&'r self, idx: usize, arena: &'r Arena<B>) -> Option<&'r [u8]> {
        Some(self.view().get(idx)?.bytes(arena.view()))
    }

    /// Appends a name that was not found. `init` is called with its index before the name is published, so that no
    /// reader sees the slot without its first value.
    ///
    /// If two threads insert the same new name at once, one appends it and the other finds it.
    pub(crate) fn insert<const B: usize>(
        &self,
        cursor: SearchCursor,
        name: NewName<'_>,
        arena: &Arena<B>,
        init: impl FnOnce(usize),
    ) -> Result<Registered, Full> {
        self.names.append(|names| {
            let cursor = match self.search(cursor, name.bytes(), arena) {
                Ok(idx) => return Ok(Registered::Existing(idx)),
                Err(cursor) => cursor,
            };
            let idx = names.next_idx();
            if idx == N {
                return Err(Full::Slots);
            }
            let name = arena.store(name).ok_or(Full::NameBytes)?;
            init(idx);
            names.push_all(&[name]);
            self.index.insert(cursor, idx);
            Ok(Registered::Inserted(idx))
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    //! Properties: a name keeps its index; indexes follow the order of insertion; a full directory rejects new
    //! names and keeps the known ones.

    use super::*;
    use proptest::prelude::*;
    use std::{format, vec::Vec};

    fn find_or_insert<const N: usize, const B: usize>(
        directory: &Directory<N>,
        name: &[u8],
        arena: &Arena<B>,
    ) -> Result<usize, Full> {
        match directory.find(name, arena) {
            Ok(idx) => Ok(idx),
            Err(cursor) => {
                directory.insert(cursor, NewName::Borrowed(name), arena, |_| ()).map(Registered::idx)
            }
        }
    }

    #[test]
    fn a_full_directory_still_finds_its_names() {
        let (directory, arena) = (Directory::<4>::new(), Arena::<64>::new());
        for idx in 0..4 {
            assert_eq!(find_or_insert(&directory, format!("n{idx}").as_bytes(), &arena), Ok(idx));
        }
        assert_eq!(find_or_insert(&directory, b"n4", &arena), Err(Full::Slots));
        assert_eq!(find_or_insert(&directory, b"n2", &arena), Ok(2));
        assert!(directory.find(b"n4", &arena).is_err());
    }

    #[test]
    fn a_name_that_does_not_fit_the_arena_takes_no_slot() {
        let (directory, arena) = (Directory::<4>::new(), Arena::<4>::new());
        assert_eq!(find_or_insert(&directory, b"too long", &arena), Err(Full::NameBytes));
        assert_eq!(find_or_insert(&directory, b"fits", &arena), Ok(0));
        assert!(directory.find(b"too long", &arena).is_err());
    }

    #[test]
    fn a_slot_is_initialised_before_it_is_published() {
        let (directory, arena) = (Directory::<2>::new(), Arena::<8>::new());
        let found = directory.insert(SearchCursor::start(b"n"), NewName::Literal("n"), &arena, |idx| {
            assert_eq!((idx, directory.view().len()), (0, 0));
        });
        assert_eq!((found, directory.view().len()), (Ok(Registered::Inserted(0)), 1));
    }

    #[test]
    fn capacities_zero_and_one_work() {
        let arena = Arena::<8>::new();
        let none = Directory::<0>::new();
        assert_eq!(find_or_insert(&none, b"a", &arena), Err(Full::Slots));
        let one = Directory::<1>::new();
        assert_eq!(find_or_insert(&one, b"a", &arena), Ok(0));
        assert_eq!(find_or_insert(&one, b"b", &arena), Err(Full::Slots));
        assert_eq!(find_or_insert(&one, b"a", &arena), Ok(0));
    }

    proptest! {
        #[test]
        fn a_plain_list_agrees(names in prop::collection::vec("[a-c]{1,3}", 0..60)) {
            let (directory, arena) = (Directory::<16>::new(), Arena::<40>::new());
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
                prop_assert_eq!(find_or_insert(&directory, name.as_bytes(), &arena), expected);
            }
            let stored: Vec<_> = (0..list.len())
                .map(|idx| directory.view().get(idx).unwrap().bytes(arena.view()))
                .collect();
            prop_assert_eq!(stored, list.iter().map(|name| name.as_bytes()).collect::<Vec<_>>());
        }
    }
}
