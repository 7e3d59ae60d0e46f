//! Linear search for a name, with interrupts on.
//!
//! Owns the search. Names are never removed or changed, so a critical section only needs to search the names that
//! are newer than the first search: interrupts are off for one append, for any number of names. There is no table
//! in memory.

/// Takes no memory: the search reads the names themselves.
pub(crate) struct NameIndex<const N: usize>;

/// The index of the first name that was not searched.
#[derive(Clone, Copy)]
pub(crate) struct SearchCursor(usize);

impl SearchCursor {
    /// Returns the start of every search.
    pub(crate) const fn start(_: &[u8]) -> Self {
        Self(0)
    }
}

impl<const N: usize> NameIndex<N> {
    pub(crate) const fn new() -> Self {
        Self
    }

    /// Always `None`: there is no faster way than [`search`](Self::search).
    #[inline(always)]
    pub(crate) fn find_fast<'r>(&self, _: &[u8], _: impl Fn(usize) -> Option<&'r [u8]>) -> Option<usize> {
        None
    }

    /// Returns the index of the name, or of the next new name.
    pub(crate) fn search<'r>(
        &self,
        from: SearchCursor,
        name: &[u8],
        name_at: impl Fn(usize) -> Option<&'r [u8]>,
    ) -> Result<usize, SearchCursor> {
        let mut idx = from.0;
        while let Some(found) = name_at(idx) {
            if found == name {
                return Ok(idx);
            }
            idx += 1;
        }
        Err(SearchCursor(idx))
    }

    /// Does nothing: there is no table.
    pub(crate) fn insert(&self, _: SearchCursor, _: usize) {}
}
