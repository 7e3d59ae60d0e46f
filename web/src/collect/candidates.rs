//! Which processes have a place where the directory holds more pipes than are asked.
//!
//! Owns the order: a process that answered before comes first, then one whose byte is held, as by a recorder that lives,
//! then all others, and the dead last, each by name. Pipes that nothing writes, however many, keep no known process out.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};

/// The most pipes that are asked in one collection, and the most processes that are remembered.
pub const MAX_PIPES: usize = 4096;

/// Why a process has its place, the strongest reason first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Rank {
    /// It answered before.
    Answered,
    /// Its byte was held.
    Locked,
    /// Nothing is known of it.
    Unknown,
    /// It is dead, and its pipe may not be removed.
    Gone,
}

/// The first [`MAX_PIPES`] of all that were offered, by rank and name.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    pub(super) first: BTreeSet<(Rank, OsString)>,
    /// How many have no place.
    pub(super) n_omitted: usize,
}

impl Candidates {
    /// Takes in a name. If there are too many the last one makes way, and is counted unless it is gone.
    pub(super) fn offer(&mut self, rank: Rank, name: &OsStr) {
        self.first.insert((rank, name.to_owned()));
        if self.first.len() > MAX_PIPES
            && let Some((rank, _)) = self.first.pop_last()
        {
            self.n_omitted += usize::from(rank != Rank::Gone);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answered_before_goes_first_then_the_lock_then_the_name() {
        let mut candidates = Candidates::default();
        for n in 0..MAX_PIPES {
            candidates.offer(Rank::Unknown, format!("{n:04}.stats").as_ref());
        }
        candidates.offer(Rank::Locked, "y.stats".as_ref());
        candidates.offer(Rank::Answered, "z.stats".as_ref());
        candidates.offer(Rank::Answered, "z.stats".as_ref());
        let names: Vec<_> = candidates.first.into_iter().map(|(_, name)| name).collect();
        assert_eq!((names.len(), candidates.n_omitted), (MAX_PIPES, 2));
        assert_eq!(names[..3], ["z.stats", "y.stats", "0000.stats"]);
        assert_eq!(names[MAX_PIPES - 1], *format!("{:04}.stats", MAX_PIPES - 3));
    }
}
