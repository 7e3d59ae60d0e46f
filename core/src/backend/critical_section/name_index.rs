//! How a name is found where interrupts may come between: by looking at each, with interrupts on.
//!
//! Owns the search. Names are never removed or changed, so what was looked at before the critical section needs no
//! second look within it: interrupts are off for one append, however many names there are. There is no table to take
//! memory.

/// Takes no memory: the names themselves are searched.
pub(crate) struct NameIndex<const N: usize>;

/// A number from which on a name may be.
#[derive(Clone, Copy)]
pub(crate) struct SearchCursor(usize);

impl SearchCursor {
    /// Returns where the search for a name begins.
    pub(crate) const fn start(_: &[u8]) -> Self {
        Self(0)
    }
}

impl<const N: usize> NameIndex<N> {
    pub(crate) const fn new() -> Self {
        Self
    }

    /// Nothing is quicker than [`search`](Self::search).
    #[inline(always)]
    pub(crate) fn find_fast<'r>(&self, _: &[u8], _: impl Fn(usize) -> Option<&'r [u8]>) -> Option<usize> {
        None
    }

    /// Returns the number of the name, or else that of the next new one.
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

    /// There is nothing to write.
    pub(crate) fn insert(&self, _: SearchCursor, _: usize) {}
}
