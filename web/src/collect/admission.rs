//! How much all processes together may say.
//!
//! Owns the budgets of one collection, and who exceeds them: those who say most, so that nobody keeps out a
//! process that says little. Pure: it sees readings and nothing else. Called by the collector once all were heard.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;

use statvent_core::line::Number;

use super::reading::Reading;

/// The most stats of different names in one collection.
pub const MAX_NAMES: usize = 65_536;

/// The most bytes that those names and very large integers may take in an answer.
pub const MAX_NAME_BYTES: usize = 8 << 20;

/// The most bytes that a byte of a name becomes where it has to be escaped.
const LONGEST_ESCAPE: usize = 6;

/// What the readings of one collection may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Budget {
    /// The memory for all readings.
    pub(super) n_bytes: usize,
    /// Stats of different names.
    pub(super) n_names: usize,
    /// Their names, escaped, and the digits of large integers.
    pub(super) n_name_bytes: usize,
}

/// Which budget a reading exceeds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Excess {
    Bytes,
    Names,
}

/// Returns which readings exceed the budget, by their places. Those that say least are admitted first.
///
/// Cost: a hash of each name where there are more stats than names are allowed; else next to nothing.
pub(super) fn excess(readings: &[&Reading], budget: Budget) -> Vec<(usize, Excess)> {
    let n_bytes: usize = readings.iter().map(|reading| reading.n_bytes()).sum();
    let n_stats: usize = readings.iter().map(|reading| reading.n_stats()).sum();
    if n_bytes <= budget.n_bytes
        && n_stats <= budget.n_names
        && n_bytes * LONGEST_ESCAPE <= budget.n_name_bytes
    {
        return Vec::new();
    }
    let mut by_size: Vec<_> = readings.iter().enumerate().collect();
    by_size.sort_by_key(|(_, reading)| reading.n_bytes());
    let mut taken = Taken::default();
    by_size.into_iter().filter_map(|(idx, reading)| Some((idx, taken.take(reading, budget)?))).collect()
}

/// What the readings that were admitted take.
#[derive(Default)]
struct Taken {
    hasher: RandomState,
    /// Hashes instead of names: two of 65536 are equal once in billions of collections, and then a budget is
    /// one name larger.
    names: HashSet<u64, RandomState>,
    n_bytes: usize,
    n_name_bytes: usize,
}

impl Taken {
    /// Admits a reading, or says why not; then it takes nothing.
    fn take(&mut self, reading: &Reading, budget: Budget) -> Option<Excess> {
        if self.n_bytes + reading.n_bytes() > budget.n_bytes {
            return Some(Excess::Bytes);
        }
        let mut new = Vec::new();
        let mut n_name_bytes = self.n_name_bytes;
        for (name, value) in reading.stats() {
            if let Number::BigInt(digits) = value {
                n_name_bytes += digits.len();
            }
            let hash = self.hasher.hash_one(name);
            if self.names.insert(hash) {
                new.push(hash);
                n_name_bytes += escaped_len(name);
            }
            if self.names.len() > budget.n_names || n_name_bytes > budget.n_name_bytes {
                for hash in &new {
                    self.names.remove(hash);
                }
                return Some(Excess::Names);
            }
        }
        self.n_bytes += reading.n_bytes();
        self.n_name_bytes = n_name_bytes;
        None
    }
}

/// The most bytes that a name takes in a body.
fn escaped_len(name: &[u8]) -> usize {
    match str::from_utf8(name) {
        Ok(text) => {
            let is_escaped = |byte: &u8| byte.is_ascii_control() || matches!(byte, b'"' | b'\\');
            text.len() + text.bytes().filter(is_escaped).count() * (LONGEST_ESCAPE - 1)
        }
        Err(_) => name.len() * LONGEST_ESCAPE,
    }
}

#[cfg(test)]
mod tests {
    //! Properties: whatever the processes say, what is admitted fits the budget, and nobody is refused in favour of
    //! one that says more.

    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const AMPLE: Budget = Budget { n_bytes: usize::MAX, n_names: usize::MAX, n_name_bytes: usize::MAX };

    fn refused(texts: &[&str], budget: Budget) -> Vec<(usize, Excess)> {
        let readings: Vec<_> = texts.iter().map(|text| Reading::parse(text.as_bytes()).unwrap()).collect();
        let mut refused = excess(&readings.iter().collect::<Vec<_>>(), budget);
        refused.sort_by_key(|(idx, _)| *idx);
        refused
    }

    #[test]
    fn names_that_are_the_same_count_once() {
        let texts = ["a: 1\nb: 1\n", "a: 2\nb: 2\n", "b: 3\na: 3\n"];
        assert_eq!(refused(&texts, Budget { n_names: 2, ..AMPLE }), []);
        assert_eq!(refused(&texts, Budget { n_name_bytes: 2, ..AMPLE }), []);
        assert_eq!(refused(&texts, Budget { n_names: 1, ..AMPLE }).len(), 3);
    }

    #[test]
    fn who_says_most_is_refused_and_leaves_its_room_to_others() {
        let texts = ["a: 1\nb: 1\nc: 1\nd: 1\n", "e: 1\n", "f: 1\ng: 1\n"];
        assert_eq!(refused(&texts, Budget { n_names: 4, ..AMPLE }), [(0, Excess::Names)]);
        assert_eq!(refused(&texts, Budget { n_name_bytes: 6, ..AMPLE }), [(0, Excess::Names)]);
        let n_bytes = |idx: usize| Reading::parse(texts[idx].as_bytes()).unwrap().n_bytes();
        let budget = Budget { n_bytes: n_bytes(1) + n_bytes(2), ..AMPLE };
        assert_eq!(refused(&texts, budget), [(0, Excess::Bytes)]);
    }

    #[test]
    fn what_has_to_be_escaped_and_large_integers_take_more() {
        for (line, n_bytes) in
            [("a\"\\: 1\n", 13), ("\u{1}.: 1\n", 7), ("é: 1\n", 2), ("a: 18446744073709551616\n", 21)]
        {
            assert_eq!(refused(&[line], Budget { n_name_bytes: n_bytes, ..AMPLE }), [], "{line}");
            let less = Budget { n_name_bytes: n_bytes - 1, ..AMPLE };
            assert_eq!(refused(&[line], less), [(0, Excess::Names)], "{line}");
        }
        assert_eq!(escaped_len(b"\xff.."), 18);
    }

    proptest! {
        #[test]
        fn what_is_admitted_fits_and_who_says_less_goes_first(
            processes in prop::collection::vec(prop::collection::vec("[a-f]{1,2}", 0..8), 0..8),
            n_names in 0usize..12,
            n_bytes in 0usize..600,
        ) {
            let text = |names: &Vec<String>| names.iter().map(|name| format!("{name}: 1\n")).collect::<String>();
            let readings: Vec<_> =
                processes.iter().map(|names| Reading::parse(text(names).as_bytes()).unwrap()).collect();
            let readings: Vec<_> = readings.iter().collect();
            let refused = excess(&readings, Budget { n_bytes, n_names, ..AMPLE });
            let is_refused = |idx: usize| refused.iter().any(|(refused, _)| *refused == idx);
            let admitted = || (0..readings.len()).filter(|idx| !is_refused(*idx));
            let names: BTreeSet<_> = admitted().flat_map(|idx| &processes[idx]).collect();
            prop_assert!(names.len() <= n_names);
            prop_assert!(admitted().map(|idx| readings[idx].n_bytes()).sum::<usize>() <= n_bytes);
            for (idx, why) in &refused {
                // It would not have fitted beside those that are at most as large as it is.
                let size = readings[*idx].n_bytes();
                let smaller = || admitted().filter(|idx| readings[*idx].n_bytes() <= size);
                let n_bytes_before: usize = smaller().map(|idx| readings[idx].n_bytes()).sum();
                let mut names: BTreeSet<_> = smaller().flat_map(|idx| &processes[idx]).collect();
                names.extend(&processes[*idx]);
                let is_right = match why {
                    Excess::Bytes => n_bytes_before + size > n_bytes,
                    Excess::Names => names.len() > n_names,
                };
                prop_assert!(is_right);
            }
        }
    }
}
