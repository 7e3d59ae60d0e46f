//! Admission of pipes if a directory holds more than the limit.
//!
//! Owns the order of admission: processes that answered before, then those whose lock byte was held and that were not
//! silent, then all others, dead ones last; within each rank by name. So pipes without a writer keep no known process out. It
//! must not touch the directory.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};

use crate::limits::MAX_PIPES;

/// Why a process is admitted, the strongest reason first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Rank {
    /// It answered before.
    Answered,
    /// Its lock byte was held, and it was not silent.
    LockByteHeld,
    /// Nothing is known of it.
    Unknown,
    /// It is dead and its pipe cannot be removed, or its name is not a pipe.
    Gone,
}

/// The first [`MAX_PIPES`] of all names that were offered, by rank and name.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    pub(super) admitted: BTreeSet<(Rank, OsString)>,
    /// How many were rejected, dead processes not counted.
    pub(super) n_rejected: usize,
}

impl Candidates {
    /// Admits a name; if there are too many, rejects the last one in order.
    pub(super) fn offer(&mut self, rank: Rank, name: &OsStr) {
        self.admitted.insert((rank, name.to_owned()));
        if self.admitted.len() > MAX_PIPES
            && let Some((rank, _)) = self.admitted.pop_last()
        {
            self.n_rejected += usize::from(rank != Rank::Gone);
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
        candidates.offer(Rank::LockByteHeld, "y.stats".as_ref());
        candidates.offer(Rank::Answered, "z.stats".as_ref());
        candidates.offer(Rank::Answered, "z.stats".as_ref());
        let names: Vec<_> = candidates.admitted.into_iter().map(|(_, name)| name).collect();
        assert_eq!((names.len(), candidates.n_rejected), (MAX_PIPES, 2));
        assert_eq!(names[..3], ["z.stats", "y.stats", "0000.stats"]);
        assert_eq!(names[MAX_PIPES - 1], *format!("{:04}.stats", MAX_PIPES - 3));
    }
}
