//! Retired pipes, kept until no reader can be stranded on them.
//!
//! Owns the grace period and the number of pipes that are kept. It swaps no pipe and removes no file.

use crate::limits::{MAX_RETIRED_PIPES, READER_GRACE};
use crate::pipe::fifo::Fifo;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Pipes that lost their name, the oldest first, with the time at which they lost it.
#[derive(Debug, Default)]
pub(crate) struct RetiredPipes {
    pipes: VecDeque<(Instant, Arc<Fifo>)>,
}

impl RetiredPipes {
    /// Keeps a pipe that just lost its name, and drops expired pipes above the limit.
    pub(crate) fn push(&mut self, fifo: Arc<Fifo>) {
        self.pipes.push_back((Instant::now(), fifo));
        self.release_expired(MAX_RETIRED_PIPES);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.pipes.len() >= MAX_RETIRED_PIPES
    }

    /// Returns the rest of the oldest pipe's grace period, in which a reader may still open it.
    pub(crate) fn grace_left(&self) -> Duration {
        let oldest = self.pipes.front();
        oldest.map_or(Duration::ZERO, |(since, _)| READER_GRACE.saturating_sub(since.elapsed()))
    }

    /// Releases the readers stranded on expired pipes, and drops these pipes until `n_kept` are left.
    pub(crate) fn release_expired(&mut self, n_kept: usize) {
        while self.pipes.len() > n_kept && self.grace_left().is_zero() {
            self.pipes.pop_front().inspect(|(_, oldest)| oldest.release_stranded_readers());
        }
    }

    /// Releases the readers stranded on all pipes, and keeps the pipes.
    pub(crate) fn release_readers(&self) {
        self.pipes.iter().for_each(|(_, fifo)| fifo.release_stranded_readers());
    }

    #[cfg(test)]
    pub(crate) fn n_pipes(&self) -> usize {
        self.pipes.len()
    }

    #[cfg(test)]
    pub(crate) fn contains(&self, fifo: &Arc<Fifo>) -> bool {
        self.pipes.iter().any(|(_, kept)| Arc::ptr_eq(kept, fifo))
    }
}
