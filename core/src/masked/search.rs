//! How a name is found where interrupts may come between: by looking at each, with interrupts on.
//!
//! Owns the search, as `search` does for programs with threads. Names are never removed or changed, so what was looked
//! at before the critical section needs no second look within it: interrupts are off for one append, however many
//! names there are. There is no table to take memory. Called by `slot` at a name's first use.

use super::lock::Lock;
use crate::append::Append;
use crate::arena::{Arena, NewName};
use crate::directory::{Directory, Found, Full};

impl<I: Index, M: Copy, const N: usize> Directory<I, M, N> {
    pub(crate) fn find<const B: usize>(&self, name: &[u8], arena: &Arena<B>) -> Option<usize> {
        self.search(0, name, arena).ok()
    }

    /// Finds the name or appends it. Before a new one is published, `prepare` is called with its number, so that
    /// no reader sees the slot without its first value.
    ///
    /// Where an interrupt brings the same new name: one appends it, the other finds it.
    pub(crate) fn find_or_insert<const B: usize>(
        &self,
        name: NewName<'_>,
        meta: M,
        arena: &Arena<B>,
        prepare: impl FnOnce(usize),
    ) -> Result<Found, Full> {
        let n_seen = match self.search(0, name.bytes(), arena) {
            Ok(idx) => return Ok(Found::Known(idx)),
            Err(n_seen) => n_seen,
        };
        self.index.with(|index| match self.search(n_seen, name.bytes(), arena) {
            Ok(idx) => Ok(Found::Known(idx)),
            Err(_) => self.append(index, name, meta, arena, prepare).map(Found::New),
        })
    }

    /// The number of the name, if it is `from` or above, or else how many names there are.
    fn search<const B: usize>(&self, from: usize, name: &[u8], arena: &Arena<B>) -> Result<usize, usize> {
        let n_names = self.view().len();
        (from..n_names).find(|idx| self.name_at(*idx, arena) == Some(name)).ok_or(n_names)
    }
}

/// What names are found by: nothing but the names.
pub(crate) trait Index: Copy {}

#[derive(Clone, Copy)]
pub(crate) struct Unindexed<const N: usize>;

pub(crate) type StatIndex<const N: usize> = Unindexed<N>;
pub(crate) type SeriesIndex<const N: usize> = Unindexed<N>;

impl<const N: usize> Index for Unindexed<N> {}

impl<M: Copy, const N: usize> Directory<Unindexed<N>, M, N> {
    pub(crate) const fn new() -> Self {
        Self { index: Lock::new(Unindexed), entries: Append::new() }
    }
}
