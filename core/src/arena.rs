//! Where names are kept: literals by reference, others copied into one arena per registry.
//!
//! Owns the arena and the compact form of a stored name. It does not check names (see `name`) and does not find
//! them (see `directory`).

#![allow(unsafe_code, reason = "appends to the shared array under the arena's own lock")]

use crate::append::{Append, View};
use crate::name::MAX_NAME_BYTES;
use crate::sync::{Lock, const_new};

/// A name on its way into a directory.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NewName<'a> {
    /// Lives as long as the program, so that a reference to it is kept.
    Literal(&'static str),
    /// Has to be copied.
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

/// A name that is kept: two pointers wide.
#[derive(Clone, Copy)]
pub(crate) enum StoredName {
    Literal(&'static [u8]),
    /// Offset in the arena and length, packed to stay as small as a reference on 32-bit targets.
    Copied(Packed),
}

impl StoredName {
    #[inline]
    pub(crate) fn bytes<'r>(&self, arena: View<'r, u8>) -> &'r [u8] {
        match self {
            Self::Literal(name) => name,
            Self::Copied(packed) => arena.slice(packed.range()),
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Packed(u32);

const LEN_BITS: u32 = 8;
const _: () = assert!(MAX_NAME_BYTES < 1 << LEN_BITS);

impl Packed {
    fn new(start: u32, n_bytes: u32) -> Self {
        Self(start << LEN_BITS | n_bytes)
    }

    fn range(self) -> core::ops::Range<usize> {
        let start = (self.0 >> LEN_BITS) as usize;
        start..start + (self.0 & ((1 << LEN_BITS) - 1)) as usize
    }
}

/// The largest arena, in bytes: its offsets are 24 bits wide.
pub(crate) const MAX_ARENA_BYTES: usize = 1 << (32 - LEN_BITS);

/// Room for copied names. Nothing is ever taken out.
pub(crate) struct Arena<const BYTES: usize> {
    appending: Lock<()>,
    bytes: Append<u8, BYTES>,
}

impl<const BYTES: usize> Arena<BYTES> {
    const_new! {
        pub(crate) fn new() -> Self {
            const { assert!(BYTES <= MAX_ARENA_BYTES, "NAME_BYTES must be at most 16777216 (16 MiB)") };
            Self { appending: Lock::new(()), bytes: Append::new() }
        }
    }

    /// Keeps a checked name, by copying it where that is needed; `None` when it does not fit.
    pub(crate) fn keep(&self, name: NewName<'_>) -> Option<StoredName> {
        match name {
            NewName::Literal(name) => Some(StoredName::Literal(name.as_bytes())),
            NewName::Borrowed(name) => {
                // SAFETY: `push_all` wants one caller at a time, and the lock is held around its only call.
                let range = self.appending.with(|()| unsafe { self.bytes.push_all(name) })?;
                Some(StoredName::Copied(Packed::new(range.start, range.end - range.start)))
            }
        }
    }

    /// Keeps new names out while held.
    #[cfg(feature = "std")]
    pub(crate) fn gate(&self) -> &crate::sync::Gate {
        self.appending.gate()
    }

    pub(crate) fn view(&self) -> View<'_, u8> {
        self.bytes.view()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_literal_takes_no_room() {
        let arena = Arena::<0>::new();
        let stored = arena.keep(NewName::Literal("requests")).unwrap();
        assert_eq!(stored.bytes(arena.view()), b"requests");
        assert!(arena.keep(NewName::Borrowed(b"r")).is_none());
    }

    #[test]
    fn copies_stand_side_by_side_until_the_arena_is_full() {
        let arena = Arena::<8>::new();
        let first = arena.keep(NewName::Borrowed(b"abcde")).unwrap();
        assert!(arena.keep(NewName::Borrowed(b"fghi")).is_none());
        let second = arena.keep(NewName::Borrowed(b"fgh")).unwrap();
        assert_eq!(first.bytes(arena.view()), b"abcde");
        assert_eq!(second.bytes(arena.view()), b"fgh");
    }

    #[test]
    fn a_packed_name_keeps_both_ends() {
        let range = Packed::new((1 << 24) - 1, 255).range();
        assert_eq!(range, (1 << 24) - 1..(1 << 24) + 254);
    }
}
