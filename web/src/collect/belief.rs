//! Which readings are believed.
//!
//! A reader that does not lock, `cat` for one, takes a part of what a process says, or all of it, and what is left for
//! us looks like any other reading. Owns the signs of that, and how often a process must repeat itself to be
//! believed all the same. Pure: it touches neither pipe nor clock. Called by `asked` and `process`.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::reading::Reading;

/// So often a process must say what is odd, but no less than it said before.
const ROUNDS: u32 = 3;
/// So often it must say the same that is less than it said before. A process that took another's name does so for
/// ever; readers that happen to take the same part each time, for some rounds.
const ROUNDS_OF_LESS: u32 = 16;

/// Says whether a reading shows no sign that somebody else took a part of it.
///
/// `before` is what the process said last, if it is one whose stats only grow in number and keep their order, as
/// those of a registry do.
pub(super) fn is_whole(reading: &Reading, before: Option<&Reading>) -> bool {
    reading.n_stats() > 0
        && !reading.is_torn()
        && before.is_none_or(|before| {
            let mut found = names(reading);
            names(before).all(|name| found.any(|found| found == name))
        })
}

/// What one process said in this collection that was not believed.
#[derive(Debug, Default)]
pub(super) struct Belief {
    n_empty: u32,
    n_equal: u32,
    /// Of the names that were said `n_equal` times in a row, for a process whose names are known.
    names_hash: Option<u64>,
}

impl Belief {
    /// Says whether to believe a reading; if not, the process is to be asked again. `before` as for [`is_whole`].
    pub(super) fn accepts(&mut self, reading: &Reading, before: Option<&Reading>) -> bool {
        if is_whole(reading, before) {
            return true;
        }
        let n_stats_before = before.map_or(0, Reading::n_stats);
        let is_less = n_stats_before > 0 && reading.n_stats() <= n_stats_before;
        let n_rounds = match reading.n_stats() {
            0 => &mut self.n_empty,
            _ => self.count_equal(reading, before),
        };
        *n_rounds += 1;
        *n_rounds >= if is_less { ROUNDS_OF_LESS } else { ROUNDS }
    }

    fn count_equal(&mut self, reading: &Reading, before: Option<&Reading>) -> &mut u32 {
        let names_hash = before.map(|_| hash_names(reading));
        if self.names_hash != names_hash {
            self.n_equal = 0;
            self.names_hash = names_hash;
        }
        &mut self.n_equal
    }
}

fn names(reading: &Reading) -> impl Iterator<Item = &[u8]> {
    reading.stats().map(|(name, _)| name)
}

fn hash_names(reading: &Reading) -> u64 {
    let mut hasher = DefaultHasher::new();
    names(reading).for_each(|name| name.hash(&mut hasher));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(text: &str) -> Reading {
        Reading::parse(text.as_bytes()).unwrap()
    }

    /// How many rounds it takes until what is said in turn is believed.
    fn n_rounds(said: &[&str], before: Option<&str>) -> Option<usize> {
        let before = before.map(reading);
        let mut belief = Belief::default();
        let mut rounds = said.iter().cycle().take(100);
        rounds.position(|text| belief.accepts(&reading(text), before.as_ref())).map(|idx| idx + 1)
    }

    #[test]
    fn a_first_reading_is_believed_unless_it_is_torn_or_empty() {
        assert_eq!(n_rounds(&["a: 1\n"], None), Some(1));
        assert_eq!(n_rounds(&["a: 1\nb:"], None), Some(3));
        assert_eq!(n_rounds(&[""], None), Some(3));
        // A writer whose names differ each time is believed as well.
        assert_eq!(n_rounds(&["a: 1\nx", "b: 1\nx"], None), Some(3));
        // A legacy writer's old pipe is found empty between two rounds.
        assert_eq!(n_rounds(&["a: 1\nx", ""], None), Some(5));
    }

    #[test]
    fn a_registry_that_grows_anywhere_is_believed_at_once() {
        for text in ["a: 2\nb: 3\n", "a: 1\nb: 1\nc: 1\n", "new: 1\na: 1\nnew too: 1\nb: 1\n"] {
            assert_eq!(n_rounds(&[text], Some("a: 1\nb: 2\n")), Some(1), "{text}");
        }
    }

    #[test]
    fn less_than_before_in_any_place_must_be_said_many_times() {
        for text in
            ["", "b: 2\nc: 3\n", "a: 1\nc: 3\n", "a: 1\nb: 2\n", "a: 1\nb: 2\nc: ", "b: 1\na: 1\nc: 1\n"]
        {
            assert_eq!(n_rounds(&[text], Some("a: 1\nb: 2\nc: 3\n")), Some(16), "{text}");
        }
    }

    #[test]
    fn more_than_before_mends_a_first_reading_that_was_a_part() {
        assert_eq!(n_rounds(&["a: 1\nname: 2\nc: 3\n"], Some("me: 2\nc: 3\n")), Some(3));
    }

    #[test]
    fn different_parts_are_never_believed() {
        let before = "a: 1\nb: 2\nc: 3\n";
        assert_eq!(n_rounds(&["a: 1\n", "b: 2\nc: 3\n"], Some(before)), None);
        assert_eq!(n_rounds(&["a: 1\n", "b: 2\nc: 3\n", before], Some(before)), Some(3));
    }

    #[test]
    fn a_process_that_never_had_a_stat_is_believed_to_have_none() {
        assert_eq!(n_rounds(&[""], Some("")), Some(3));
        assert_eq!(n_rounds(&["a: 1\n"], Some("")), Some(1));
    }
}
