//! Storage of names: literals by reference, other names copied into one arena.
//!
//! Owns the arena and the compact form of a stored name. It does not check names (see `name`) and does not find
//! them (see `directory`).

use core::ops::Range;

use crate::limits::MAX_NAME_BYTES;
use crate::names::append_vec::{AppendVec, AppendVecView};
use crate::sync::const_new;

/// Name that is not stored yet.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NewName<'a> {
    /// Lives as long as the program: only a reference is stored.
    Literal(&'static str),
    /// Must be copied.
    Borrowed(&'a [u8]),
}

impl NewName<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Literal(name) => name.as_bytes(),
            Self::Borrowed(name) => name,
        }
    }
}

/// Stored name, two pointers wide.
#[derive(Clone, Copy)]
pub(crate) enum StoredName {
    Literal(&'static [u8]),
    /// Offset and length in the arena, packed so that it is not larger than a reference on 32-bit targets.
    Copied(PackedRange),
}

impl StoredName {
    #[inline]
    pub(crate) fn bytes<'r>(&self, arena: AppendVecView<'r, u8>) -> &'r [u8] {
        match self {
            Self::Literal(name) => name,
            Self::Copied(packed) => arena.slice(packed.range()),
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct PackedRange(u32);

const LEN_BITS: u32 = 8;
const _: () = assert!(MAX_NAME_BYTES < 1 << LEN_BITS);

impl PackedRange {
    fn new(range: &Range<usize>) -> Self {
        // Fits: an arena has at most `MAX_ARENA_BYTES`, a name at most `MAX_NAME_BYTES`.
        Self((range.start as u32) << LEN_BITS | range.len() as u32)
    }

    fn range(self) -> Range<usize> {
        let start = (self.0 >> LEN_BITS) as usize;
        start..start + (self.0 & ((1 << LEN_BITS) - 1)) as usize
    }
}

/// The largest arena, in bytes: its offsets are 24 bits wide.
pub(crate) const MAX_ARENA_BYTES: usize = 1 << (32 - LEN_BITS);

/// Append-only storage of copied names.
pub(crate) struct Arena<const BYTES: usize>(pub(crate) AppendVec<u8, BYTES>);

impl<const BYTES: usize> Arena<BYTES> {
    const_new! {
        pub(crate) fn new() -> Self {
            const { assert!(BYTES <= MAX_ARENA_BYTES, "NAME_BYTES must be at most 16777216 (16 MiB)") };
            Self(AppendVec::new())
        }
    }

    /// Stores a checked name and copies it if necessary; `None` if it does not fit.
    pub(crate) fn store(&self, name: NewName<'_>) -> Option<StoredName> {
        Some(match name {
            NewName::Literal(name) => StoredName::Literal(name.as_bytes()),
            NewName::Borrowed(name) => {
                StoredName::Copied(PackedRange::new(&self.0.append(|bytes| bytes.push_all(name))?))
            }
        })
    }

    pub(crate) fn view(&self) -> AppendVecView<'_, u8> {
        self.0.view()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_literal_takes_no_space_in_the_arena() {
        let arena = Arena::<0>::new();
        let stored = arena.store(NewName::Literal("requests")).unwrap();
        assert_eq!(stored.bytes(arena.view()), b"requests");
        assert!(arena.store(NewName::Borrowed(b"r")).is_none());
    }

    #[test]
    fn copies_fill_the_arena_without_gaps() {
        let arena = Arena::<8>::new();
        let first = arena.store(NewName::Borrowed(b"abcde")).unwrap();
        assert!(arena.store(NewName::Borrowed(b"fghi")).is_none());
        let second = arena.store(NewName::Borrowed(b"fgh")).unwrap();
        assert_eq!(first.bytes(arena.view()), b"abcde");
        assert_eq!(second.bytes(arena.view()), b"fgh");
    }

    #[test]
    fn a_packed_name_keeps_both_ends() {
        let range = (1 << 24) - 1..(1 << 24) + 254;
        assert_eq!(PackedRange::new(&range).range(), range);
    }
}
