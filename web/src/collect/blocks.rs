//! A sequence that only grows, in blocks of bounded size.
//!
//! Owns how a reading lies in memory. What grows in one piece is copied again and again, and leaves holes of all sizes
//! behind; with blocks the service takes as much memory as it says. Knows nothing of stats. Called by `reading`.

/// Items, of which at most `N` lie in one block.
#[derive(Debug)]
pub(super) struct Blocks<T, const N: usize> {
    blocks: Vec<Vec<T>>,
}

/// A run of items within one block.
#[derive(Debug)]
pub(super) struct Span {
    block: u16,
    start: u16,
    len: u16,
}

impl<T, const N: usize> Blocks<T, N> {
    pub(super) const fn new() -> Self {
        assert!(N <= u16::MAX as usize, "a span says where it begins and how long it is in 16 bits each");
        Self { blocks: Vec::new() }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.blocks.iter().flatten()
    }

    pub(super) fn push(&mut self, item: T) {
        self.block_with_room_for(1).push(item);
    }

    /// The memory that it takes, in bytes.
    pub(super) fn n_bytes(&self) -> usize {
        let n_items: usize = self.blocks.iter().map(Vec::capacity).sum();
        n_items * size_of::<T>() + self.blocks.capacity() * size_of::<Vec<T>>()
    }

    /// Gives back the room for more.
    pub(super) fn shrink(&mut self) {
        self.blocks.shrink_to_fit();
        if let Some(last) = self.blocks.last_mut() {
            last.shrink_to_fit();
        }
    }

    fn block_with_room_for(&mut self, n_items: usize) -> &mut Vec<T> {
        if self.blocks.last().is_none_or(|last| last.len() + n_items > N) {
            self.blocks.push(Vec::new());
        }
        let last_idx = self.blocks.len() - 1;
        let last = &mut self.blocks[last_idx];
        let n_items_then = last.len() + n_items;
        if n_items_then > last.capacity() {
            // Not beyond a block, as a vector that doubles would.
            let capacity = (2 * last.capacity()).min(N).max(n_items_then);
            last.reserve_exact(capacity - last.len());
        }
        last
    }
}

impl<T: Copy, const N: usize> Blocks<T, N> {
    /// Keeps a run of at most `N` items; there may be 65536 blocks.
    pub(super) fn keep(&mut self, items: &[T]) -> Span {
        let block = self.block_with_room_for(items.len());
        let start = block.len() as u16;
        block.extend_from_slice(items);
        Span { block: (self.blocks.len() - 1) as u16, start, len: items.len() as u16 }
    }

    pub(super) fn get(&self, span: &Span) -> &[T] {
        &self.blocks[usize::from(span.block)][usize::from(span.start)..][..usize::from(span.len)]
    }
}

impl<T, const N: usize> Default for Blocks<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_lie_in_one_block_and_read_back() {
        let mut blocks = Blocks::<u8, 4>::new();
        let runs = [&b"abc"[..], b"", b"d", b"ef", b"ghij", b"k"];
        let spans: Vec<_> = runs.iter().map(|run| blocks.keep(run)).collect();
        for (run, span) in runs.iter().zip(&spans) {
            assert_eq!(blocks.get(span), *run);
        }
        assert_eq!(blocks.blocks, [&b"abcd"[..], b"ef", b"ghij", b"k"]);
        assert!(blocks.iter().copied().eq(*b"abcdefghijk"));
    }

    #[test]
    fn blocks_take_no_more_than_their_size_however_they_grow() {
        let mut blocks = Blocks::<u8, 100>::new();
        for _ in 0..50 {
            blocks.keep(&[0; 7]);
        }
        assert!(blocks.blocks.iter().all(|block| block.capacity() <= 100));
    }

    #[test]
    fn memory_is_that_of_all_blocks() {
        let mut blocks = Blocks::<u64, 8>::new();
        assert_eq!(blocks.n_bytes(), 0);
        (0..20).for_each(|n| blocks.push(n));
        blocks.shrink();
        let n_bytes = (8 + 8 + 4) * 8 + 3 * size_of::<Vec<u64>>();
        assert_eq!(blocks.n_bytes(), n_bytes);
    }
}
