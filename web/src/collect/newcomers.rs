//! Who is new in the directory, and for whom there is room.
//!
//! Owns the order in which newcomers get the places that are left: those that hold their byte first, so that pipes
//! which nobody writes, however many, keep no live process out. It asks nobody. Called by the collector.

use std::ffi::{OsStr, OsString};

use super::discover::Source;
use super::life::is_held;

/// The names that were listed and are not known yet.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    /// Those that hold their byte: recorders that live.
    held: Vec<OsString>,
    others: Vec<OsString>,
    n_left_out: usize,
}

impl Newcomers {
    /// Takes in a name; `limit` is the most of either kind that are kept, the others are counted.
    pub(super) fn meet(&mut self, source: &Source, name: &OsStr, limit: usize) {
        let kept = if is_held(&source.dir, name) { &mut self.held } else { &mut self.others };
        if kept.len() < limit {
            kept.push(name.to_owned());
        } else {
            self.n_left_out += 1;
        }
    }

    /// How many hold their byte.
    pub(super) fn n_held(&self) -> usize {
        self.held.len()
    }

    /// Returns those for whom there is room, and how many there is none for.
    pub(super) fn choose(self, n_places: usize) -> (Vec<OsString>, usize) {
        let Self { mut held, mut others, n_left_out } = self;
        // In the order of their names, not of the listing, so that it is the same ones each time.
        held.sort_unstable();
        others.sort_unstable();
        held.append(&mut others);
        let n_excess = held.len().saturating_sub(n_places);
        held.truncate(n_places);
        (held, n_left_out + n_excess)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statvent_core::Registry;
    use statvent_posix::Recorder;

    #[test]
    fn who_holds_a_byte_goes_first_and_then_the_names_decide() {
        static STATS: Registry<2, 1, 0> = Registry::new();
        let temp = tempfile::tempdir().unwrap();
        let recorder = Recorder::builder(&STATS).directory(temp.path()).label("z").start().unwrap();
        let path = recorder.path();
        let live = path.file_name().unwrap();
        let source = Source::open(temp.path(), &[]).unwrap().unwrap();
        for (limit, n_places, chosen, n_left_out) in [
            (9, 9, &["z", "1.stats", "2.stats", "3.stats"][..], 0),
            (9, 2, &["z", "1.stats"], 2),
            (2, 9, &["z", "2.stats", "3.stats"], 1),
            (2, 0, &[], 4),
        ] {
            let mut newcomers = Newcomers::default();
            for name in ["3.stats", "2.stats", "1.stats"] {
                newcomers.meet(&source, name.as_ref(), limit);
            }
            newcomers.meet(&source, live, limit);
            assert_eq!(newcomers.n_held(), 1);
            let expected: Vec<_> =
                chosen.iter().map(|name| if *name == "z" { live.to_owned() } else { name.into() }).collect();
            assert_eq!(
                newcomers.choose(n_places),
                (expected, n_left_out),
                "limit {limit}, {n_places} places"
            );
        }
    }
}
