//! Validation of snapshots: whether another reader took a part.
//!
//! A reader that does not lock, such as `cat`, may take a part of a snapshot or all of it. The rest looks like any other snapshot.
//! Owns the signs of a missing part, and the rule by which a repeated incomplete snapshot is accepted. Pure: it must not touch a
//! pipe or a clock.

use super::snapshot::ProcessSnapshot;
use crate::limits::N_EQUAL_SNAPSHOTS;

/// Returns whether a snapshot shows no sign that another reader took a part of it.
///
/// `baseline` is the last snapshot of the process, if the process is append-only: its stats keep their order, and stats are
/// only added, as in a registry. A snapshot that the quota truncated is not compared with it.
pub(super) fn is_complete(snapshot: &ProcessSnapshot, baseline: Option<&ProcessSnapshot>) -> bool {
    snapshot.n_stats() > 0
        && !snapshot.is_torn()
        && (snapshot.n_left_out() > 0
            || baseline.is_none_or(|baseline| {
                let mut found = names(snapshot);
                names(baseline).all(|name| found.any(|found| found == name))
            }))
}

/// The incomplete snapshots that one process sent in this scrape.
#[derive(Debug, Default)]
pub(super) struct Validator {
    n_empty: u32,
    /// The last one that was not empty.
    candidate: Option<ProcessSnapshot>,
    /// How many with the same names as the candidate came in a row.
    n_equal: u32,
}

impl Validator {
    /// Returns the snapshot if it is accepted; otherwise ask the process again. For `baseline` see [`is_complete`].
    pub(super) fn validate(
        &mut self,
        mut snapshot: ProcessSnapshot,
        baseline: Option<&ProcessSnapshot>,
    ) -> Option<ProcessSnapshot> {
        if is_complete(&snapshot, baseline) {
            return Some(snapshot);
        }
        let n_rounds =
            if snapshot.n_stats() == 0 { &mut self.n_empty } else { self.equal_counter(&snapshot) };
        *n_rounds += 1;
        let n_baseline_stats = baseline.map_or(0, ProcessSnapshot::n_stats);
        let has_lost_stats = n_baseline_stats > 0 && snapshot.n_stats() <= n_baseline_stats;
        if *n_rounds >= N_EQUAL_SNAPSHOTS && !has_lost_stats {
            return Some(snapshot);
        }
        if snapshot.n_stats() > 0 {
            // The next snapshot will replace the last accepted one, not this candidate.
            snapshot.charge_beyond(0);
            self.candidate = Some(snapshot);
        }
        None
    }

    /// Returns what is accepted when time is up: the candidate, or an empty snapshot, if it came several times in a row.
    ///
    /// This happens when a process with fewer stats takes the name of another one. A competing reader would have to take the
    /// same part each time.
    pub(super) fn best_effort(&mut self) -> Option<ProcessSnapshot> {
        match self.candidate.take() {
            Some(candidate) => (self.n_empty == 0 && self.n_equal >= N_EQUAL_SNAPSHOTS).then_some(candidate),
            None => (self.n_empty >= N_EQUAL_SNAPSHOTS).then(ProcessSnapshot::default),
        }
    }

    fn equal_counter(&mut self, snapshot: &ProcessSnapshot) -> &mut u32 {
        if !self.candidate.as_ref().is_some_and(|candidate| names(candidate).eq(names(snapshot))) {
            self.n_equal = 0;
        }
        &mut self.n_equal
    }
}

fn names(snapshot: &ProcessSnapshot) -> impl Iterator<Item = &[u8]> {
    snapshot.stats().map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const N_EQUAL: usize = N_EQUAL_SNAPSHOTS as usize;

    fn parse(text: &str) -> ProcessSnapshot {
        ProcessSnapshot::parse(text.as_bytes()).unwrap()
    }

    /// Repeats these texts in turn; returns the round in which one is accepted.
    fn accepted_in_round(texts: &[&str], baseline: Option<&str>) -> Option<usize> {
        accepted(texts, baseline).0
    }

    /// Returns the same, and the number of stats of the best effort if no round accepts one.
    fn accepted(texts: &[&str], baseline: Option<&str>) -> (Option<usize>, Option<usize>) {
        let baseline = baseline.map(parse);
        let mut validator = Validator::default();
        let mut rounds = texts.iter().cycle().take(100);
        let round = rounds.position(|text| validator.validate(parse(text), baseline.as_ref()).is_some());
        (round.map(|idx| idx + 1), validator.best_effort().map(|snapshot| snapshot.n_stats()))
    }

    #[test]
    fn a_first_snapshot_is_accepted_unless_it_is_torn_or_empty() {
        assert_eq!(accepted_in_round(&["a: 1\n"], None), Some(1));
        assert_eq!(accepted_in_round(&["a: 1\nb:"], None), Some(3));
        assert_eq!(accepted_in_round(&[""], None), Some(3));
        // The old pipe of a writer of the original library is empty between two rounds.
        assert_eq!(accepted_in_round(&["a: 1\nx", ""], None), Some(5));
    }

    #[test]
    fn a_registry_that_grows_anywhere_is_accepted_at_once() {
        for text in ["a: 2\nb: 3\n", "a: 1\nb: 1\nc: 1\n", "new: 1\na: 1\nnew too: 1\nb: 1\n"] {
            assert_eq!(accepted_in_round(&[text], Some("a: 1\nb: 2\n")), Some(1), "{text}");
        }
    }

    #[test]
    fn lost_stats_are_accepted_in_the_end_if_every_snapshot_lacks_them() {
        for (text, n_stats) in [
            ("", 0),
            ("b: 2\nc: 3\n", 2),
            ("a: 1\nc: 3\n", 2),
            ("a: 1\nb: 2\n", 2),
            ("a: 1\nb: 2\nc: ", 2),
            ("b: 1\na: 1\nc: 1\n", 3),
        ] {
            assert_eq!(accepted(&[text], Some("a: 1\nb: 2\nc: 3\n")), (None, Some(n_stats)), "{text}");
        }
    }

    #[test]
    fn different_parts_are_never_accepted() {
        let baseline = "a: 1\nb: 2\nc: 3\n";
        assert_eq!(accepted(&["a: 1\n", "b: 2\nc: 3\n"], Some(baseline)), (None, None));
        assert_eq!(accepted(&["a: 1\n", ""], Some(baseline)), (None, None));
        assert_eq!(accepted_in_round(&["a: 1\n", "b: 2\nc: 3\n", baseline], Some(baseline)), Some(3));
    }

    #[test]
    fn more_stats_than_the_baseline_correct_a_baseline_that_was_a_part() {
        assert_eq!(accepted_in_round(&["a: 1\nname: 2\nc: 3\n"], Some("me: 2\nc: 3\n")), Some(3));
    }

    #[test]
    fn a_process_that_never_had_a_stat_may_have_none() {
        assert_eq!(accepted_in_round(&[""], Some("")), Some(3));
        assert_eq!(accepted_in_round(&["a: 1\n"], Some("")), Some(1));
    }

    /// What a competing reader leaves of a snapshot.
    #[derive(Clone, Debug)]
    enum Rest {
        Complete,
        Nothing,
        /// From one byte to another.
        Part(usize, usize),
    }

    fn rest() -> impl Strategy<Value = Rest> {
        prop_oneof![
            1 => Just(Rest::Complete),
            1 => Just(Rest::Nothing),
            3 => (any::<usize>(), any::<usize>()).prop_map(|(from, to)| Rest::Part(from, to)),
        ]
    }

    fn apply(text: &str, rest: &Rest) -> String {
        match rest {
            Rest::Complete => text.to_owned(),
            Rest::Nothing => String::new(),
            Rest::Part(from, to) => {
                let (from, to) = (from % (text.len() + 1), to % (text.len() + 1));
                text[from.min(to)..from.max(to)].to_owned()
            }
        }
    }

    proptest! {
        /// A growing registry, and a competing reader that takes parts of its snapshots. If a complete snapshot arrives in
        /// every scrape, and no part arrives several times in a row before it, then no scrape accepts less than an earlier
        /// one, and no accepted snapshot is older than an earlier one.
        #[test]
        fn lost_stats_are_never_accepted_while_complete_snapshots_arrive(
            scrapes in prop::collection::vec((0usize..3, prop::collection::vec(rest(), 0..12)), 1..8)
        ) {
            let mut n_stats = 1;
            let text = |n_stats: usize| (0..n_stats).map(|n| format!("stat.{n}: {n_stats}\n")).collect::<String>();
            let mut baseline = parse(&text(n_stats));
            for (n_new, rests) in scrapes {
                let mut validator = Validator::default();
                let mut accepted = None;
                let mut parts = Vec::new();
                // The complete snapshot comes last, unless it came before.
                for rest in rests.iter().chain([&Rest::Complete]) {
                    // The registry may grow between two snapshots of one scrape as well.
                    n_stats += n_new;
                    let received = apply(&text(n_stats), rest);
                    parts.push(parse(&received));
                    let in_a_row = &parts[parts.len().saturating_sub(N_EQUAL)..];
                    let is_equal = |part: &ProcessSnapshot| part.n_stats() > 0 && names(part).eq(names(&in_a_row[0]));
                    if in_a_row.len() == N_EQUAL && in_a_row.iter().all(is_equal) {
                        return Ok(());
                    }
                    accepted = validator.validate(parse(&received), Some(&baseline));
                    if accepted.is_some() {
                        break;
                    }
                }
                let accepted = accepted.expect("a complete snapshot is accepted");
                prop_assert!(is_complete(&accepted, Some(&baseline)), "{:?} after {:?}", accepted, baseline);
                prop_assert!(accepted.n_stats() >= baseline.n_stats());
                baseline = accepted;
            }
        }

        /// The same, and time is up at any moment: the best effort lacks stats only if the last snapshots all had the same
        /// names.
        #[test]
        fn a_best_effort_had_the_same_names_several_times_in_a_row(
            n_stats in 2usize..6,
            rests in prop::collection::vec(rest(), 0..12),
        ) {
            let text: String = (0..n_stats).map(|n| format!("stat.{n}: 1\n")).collect();
            let baseline = parse(&text);
            let mut validator = Validator::default();
            let mut received = Vec::new();
            for rest in &rests {
                received.push(apply(&text, rest));
                if validator.validate(parse(&received[received.len() - 1]), Some(&baseline)).is_some() {
                    return Ok(());
                }
            }
            if let Some(best) = validator.best_effort() {
                prop_assert!(received.len() >= N_EQUAL);
                for last in received.iter().rev().take(N_EQUAL).map(|text| parse(text)) {
                    prop_assert!(names(&last).eq(names(&best)), "{:?} gave {:?}", received, best);
                }
            }
        }
    }
}
