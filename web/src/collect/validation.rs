//! Which snapshots are believed.
//!
//! A reader that does not lock, `cat` for one, takes a part of what a process says, or all of it, and what is left for
//! us looks like any other reading. Owns the signs of that, and how often a process must repeat itself to be
//! believed all the same. Pure: it touches neither pipe nor clock.

use super::snapshot::ProcessSnapshot;

/// So often a process must say what is odd to be believed.
const ROUNDS: u32 = 3;

/// Says whether a reading shows no sign that somebody else took a part of it.
///
/// `before` is what the process said last, if it is one whose stats only grow in number and keep their order, as
/// those of a registry do. A reading that was cut off by the quota has lost no more than that.
pub(super) fn is_complete(reading: &ProcessSnapshot, before: Option<&ProcessSnapshot>) -> bool {
    reading.n_stats() > 0
        && !reading.is_torn()
        && (reading.n_omitted() > 0
            || before.is_none_or(|before| {
                let mut found = names(reading);
                names(before).all(|name| found.any(|found| found == name))
            }))
}

/// What one process said in this collection that was not believed.
#[derive(Debug, Default)]
pub(super) struct Validator {
    n_empty: u32,
    /// What it said last that was not empty, and how often in a row.
    odd: Option<ProcessSnapshot>,
    n_equal: u32,
}

impl Validator {
    /// Returns a reading that is believed; if it is not, the process is to be asked again. `before` as for
    /// [`is_complete`].
    pub(super) fn validate(
        &mut self,
        mut reading: ProcessSnapshot,
        before: Option<&ProcessSnapshot>,
    ) -> Option<ProcessSnapshot> {
        if is_complete(&reading, before) {
            return Some(reading);
        }
        let n_rounds = if reading.n_stats() == 0 { &mut self.n_empty } else { self.count_equal(&reading) };
        *n_rounds += 1;
        let n_stats_before = before.map_or(0, ProcessSnapshot::n_stats);
        let is_less = n_stats_before > 0 && reading.n_stats() <= n_stats_before;
        if *n_rounds >= ROUNDS && !is_less {
            return Some(reading);
        }
        if reading.n_stats() > 0 {
            // The next one replaces what the process said last, and not this one.
            reading.recharge(0);
            self.odd = Some(reading);
        }
        None
    }

    /// Returns what is believed for want of better when time is up: what was said last, several times in a row.
    ///
    /// A process that took the name of another one and has fewer stats comes to that. Other readers hardly can: they
    /// would have to take the same part at every moment until now.
    pub(super) fn best_effort(&mut self) -> Option<ProcessSnapshot> {
        match self.odd.take() {
            Some(odd) => (self.n_empty == 0 && self.n_equal >= ROUNDS).then_some(odd),
            None => (self.n_empty >= ROUNDS).then(ProcessSnapshot::default),
        }
    }

    fn count_equal(&mut self, reading: &ProcessSnapshot) -> &mut u32 {
        if !self.odd.as_ref().is_some_and(|odd| names(odd).eq(names(reading))) {
            self.n_equal = 0;
        }
        &mut self.n_equal
    }
}

fn names(reading: &ProcessSnapshot) -> impl Iterator<Item = &[u8]> {
    reading.stats().map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reading(text: &str) -> ProcessSnapshot {
        ProcessSnapshot::parse(text.as_bytes()).unwrap()
    }

    /// In which round one of the things that are said in turn is believed at once.
    fn round(said: &[&str], before: Option<&str>) -> Option<usize> {
        talk(said, before).0
    }

    /// The same, and how many stats are believed in the end, if it never is.
    fn talk(said: &[&str], before: Option<&str>) -> (Option<usize>, Option<usize>) {
        let before = before.map(reading);
        let mut validator = Validator::default();
        let mut rounds = said.iter().cycle().take(100);
        let round = rounds.position(|text| validator.validate(reading(text), before.as_ref()).is_some());
        (round.map(|idx| idx + 1), validator.best_effort().map(|reading| reading.n_stats()))
    }

    #[test]
    fn a_first_reading_is_believed_unless_it_is_torn_or_empty() {
        assert_eq!(round(&["a: 1\n"], None), Some(1));
        assert_eq!(round(&["a: 1\nb:"], None), Some(3));
        assert_eq!(round(&[""], None), Some(3));
        // A legacy writer's old pipe is found empty between two rounds.
        assert_eq!(round(&["a: 1\nx", ""], None), Some(5));
    }

    #[test]
    fn a_registry_that_grows_anywhere_is_believed_at_once() {
        for text in ["a: 2\nb: 3\n", "a: 1\nb: 1\nc: 1\n", "new: 1\na: 1\nnew too: 1\nb: 1\n"] {
            assert_eq!(round(&[text], Some("a: 1\nb: 2\n")), Some(1), "{text}");
        }
    }

    #[test]
    fn less_than_before_in_any_place_is_believed_in_the_end_if_nothing_else_was_said() {
        for (text, n_stats) in [
            ("", 0),
            ("b: 2\nc: 3\n", 2),
            ("a: 1\nc: 3\n", 2),
            ("a: 1\nb: 2\n", 2),
            ("a: 1\nb: 2\nc: ", 2),
            ("b: 1\na: 1\nc: 1\n", 3),
        ] {
            assert_eq!(talk(&[text], Some("a: 1\nb: 2\nc: 3\n")), (None, Some(n_stats)), "{text}");
        }
    }

    #[test]
    fn different_parts_are_never_believed() {
        let before = "a: 1\nb: 2\nc: 3\n";
        assert_eq!(talk(&["a: 1\n", "b: 2\nc: 3\n"], Some(before)), (None, None));
        assert_eq!(talk(&["a: 1\n", ""], Some(before)), (None, None));
        assert_eq!(round(&["a: 1\n", "b: 2\nc: 3\n", before], Some(before)), Some(3));
    }

    #[test]
    fn more_than_before_mends_a_first_reading_that_was_a_part() {
        assert_eq!(round(&["a: 1\nname: 2\nc: 3\n"], Some("me: 2\nc: 3\n")), Some(3));
    }

    #[test]
    fn a_process_that_never_had_a_stat_is_believed_to_have_none() {
        assert_eq!(round(&[""], Some("")), Some(3));
        assert_eq!(round(&["a: 1\n"], Some("")), Some(1));
    }

    /// What a process said, and what is left of it for us.
    #[derive(Clone, Debug)]
    enum Left {
        Whole,
        Nothing,
        /// From one byte to another.
        Part(usize, usize),
    }

    fn left() -> impl Strategy<Value = Left> {
        prop_oneof![
            1 => Just(Left::Whole),
            1 => Just(Left::Nothing),
            3 => (any::<usize>(), any::<usize>()).prop_map(|(from, to)| Left::Part(from, to)),
        ]
    }

    fn take(text: &str, left: &Left) -> String {
        match left {
            Left::Whole => text.to_owned(),
            Left::Nothing => String::new(),
            Left::Part(from, to) => {
                let (from, to) = (from % (text.len() + 1), to % (text.len() + 1));
                text[from.min(to)..from.max(to)].to_owned()
            }
        }
    }

    proptest! {
        /// A registry that grows, and another reader that takes parts of what it says. Once a collection believed all of
        /// it, no collection believes less, if the whole comes at least once in each, and the parts that come before are
        /// not the same several times in a row; what is believed is never older than what was believed before.
        #[test]
        fn less_than_before_is_never_believed_while_the_whole_comes_now_and_then(
            collections in prop::collection::vec((0usize..3, prop::collection::vec(left(), 0..12)), 1..8)
        ) {
            let mut n_stats = 1;
            let text = |n_stats: usize| (0..n_stats).map(|n| format!("stat.{n}: {n_stats}\n")).collect::<String>();
            let mut before = reading(&text(n_stats));
            for (n_new, lefts) in collections {
                let mut validator = Validator::default();
                let mut believed = None;
                let mut parts = Vec::new();
                // The whole comes last, when it does not come before.
                for left in lefts.iter().chain([&Left::Whole]) {
                    // It may grow between two readers as well.
                    n_stats += n_new;
                    let said = take(&text(n_stats), left);
                    parts.push(reading(&said));
                    let in_a_row = &parts[parts.len().saturating_sub(ROUNDS as usize)..];
                    let is_alike = |part: &ProcessSnapshot| part.n_stats() > 0 && names(part).eq(names(&in_a_row[0]));
                    if in_a_row.len() == ROUNDS as usize && in_a_row.iter().all(is_alike) {
                        return Ok(());
                    }
                    believed = validator.validate(reading(&said), Some(&before));
                    if believed.is_some() {
                        break;
                    }
                }
                let believed = believed.expect("the whole is believed when it comes");
                prop_assert!(is_complete(&believed, Some(&before)), "{:?} after {:?}", believed, before);
                prop_assert!(believed.n_stats() >= before.n_stats());
                before = believed;
            }
        }

        /// The same, and time is up at any moment: what is believed for want of better is not less than before, unless all that
        /// came was the same less, again and again.
        #[test]
        fn what_is_settled_for_was_said_alike_all_the_time(
            n_stats in 2usize..6,
            lefts in prop::collection::vec(left(), 0..12),
        ) {
            let text: String = (0..n_stats).map(|n| format!("stat.{n}: 1\n")).collect();
            let before = reading(&text);
            let mut validator = Validator::default();
            let mut said = Vec::new();
            for left in &lefts {
                said.push(take(&text, left));
                if validator.validate(reading(&said[said.len() - 1]), Some(&before)).is_some() {
                    return Ok(());
                }
            }
            if let Some(settled) = validator.best_effort() {
                let last = said.iter().rev().take(ROUNDS as usize).map(|text| reading(text));
                prop_assert!(said.len() >= ROUNDS as usize);
                for round in last {
                    prop_assert!(names(&round).eq(names(&settled)), "{:?} settled for {:?}", said, settled);
                }
            }
        }
    }
}
