//! Who is new in the directory, and for whom there is room.
//!
//! Owns the order in which newcomers get the places that are left: those that hold their byte first, so that pipes
//! which nobody writes, however many, keep no live process out; among like ones the lot decides, so that nobody who is
//! left out is left out for good. It asks nobody. Called by the collector.

use std::collections::BinaryHeap;
use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher as _, RandomState};

use super::discover::Source;
use super::life::is_held;

/// The names that were listed and are not known yet.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    lot: RandomState,
    /// Those that hold their byte: recorders that live.
    held: BinaryHeap<(u64, OsString)>,
    others: BinaryHeap<(u64, OsString)>,
    n_left_out: usize,
}

/// A newcomer for whom there is room.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Welcome {
    pub(super) name: OsString,
    /// Whether its byte was held.
    pub(super) is_held: bool,
}

impl Newcomers {
    /// Takes in a name; `limit` is the most of either kind that are kept, the others are counted.
    pub(super) fn meet(&mut self, source: &Source, name: &OsStr, limit: usize) {
        let kept = if is_held(&source.dir, name) { &mut self.held } else { &mut self.others };
        kept.push((self.lot.hash_one(name), name.to_owned()));
        if kept.len() > limit {
            kept.pop();
            self.n_left_out += 1;
        }
    }

    /// How many hold their byte.
    pub(super) fn n_held(&self) -> usize {
        self.held.len()
    }

    /// How many do not.
    pub(super) fn n_others(&self) -> usize {
        self.others.len()
    }

    /// Returns those for whom there is room, and how many there is none for.
    pub(super) fn choose(self, n_places: usize) -> (Vec<Welcome>, usize) {
        let n_excess = (self.held.len() + self.others.len()).saturating_sub(n_places);
        let held = self.held.into_sorted_vec().into_iter().map(|(_, name)| Welcome { name, is_held: true });
        let others = self.others.into_sorted_vec().into_iter();
        let others = others.map(|(_, name)| Welcome { name, is_held: false });
        (held.chain(others).take(n_places).collect(), self.n_left_out + n_excess)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statvent_core::Registry;
    use statvent_posix::Recorder;
    use std::collections::BTreeSet;

    #[test]
    fn who_holds_a_byte_goes_first_and_then_the_lot_decides() {
        static STATS: Registry<2, 1, 0> = Registry::new();
        let temp = tempfile::tempdir().unwrap();
        let recorder = Recorder::builder(&STATS).directory(temp.path()).label("z").start().unwrap();
        let path = recorder.path();
        let live = path.file_name().unwrap();
        let source = Source::open(temp.path(), &[]).unwrap().unwrap();
        for (limit, n_places, n_chosen, n_left_out) in
            [(9, 9, 4, 0), (9, 2, 2, 2), (2, 9, 3, 1), (2, 0, 0, 4)]
        {
            let mut chosen = BTreeSet::new();
            for _ in 0..200 {
                let mut newcomers = Newcomers::default();
                for name in ["3.stats", "2.stats", "1.stats"] {
                    newcomers.meet(&source, name.as_ref(), limit);
                }
                newcomers.meet(&source, live, limit);
                assert_eq!((newcomers.n_held(), newcomers.n_others()), (1, 3.min(limit)));
                let (welcome, n_left_out_now) = newcomers.choose(n_places);
                assert_eq!(
                    (welcome.len(), n_left_out_now),
                    (n_chosen, n_left_out),
                    "limit {limit}, {n_places} places"
                );
                assert!(welcome.first().is_none_or(|first| first.is_held && first.name == live));
                chosen.extend(welcome);
            }
            assert_eq!(chosen.len(), if n_places > 0 { 4 } else { 0 }, "each has its turn");
        }
    }
}
