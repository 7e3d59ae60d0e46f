//! Whether the ledgers explain an answer.
//!
//! Owns the rules: nobody is lost, nobody counts twice, nothing goes backwards, the dead are gone. Pure: what is known
//! of the workers before and after a question is handed in. Called by `readers` and `storm`.
//!
//! An answer may lack what its own counts admit, `late` and `stale` processes, and no more.

use std::fmt;

use crate::answer::{Answer, Counts};

/// What is known of one worker, around one question to one service. By default nothing is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    /// It published before the question, and nothing that ends it began before the answer was there.
    pub(crate) is_alive: bool,
    /// It was dead for long when the question was put.
    pub(crate) is_gone: bool,
    /// It had counted at least so much before the question.
    pub(crate) lower: u64,
    /// It has counted at most so much once the answer is there.
    pub(crate) upper: u64,
    /// What this service said of it in answers that were there before the question.
    pub(crate) said: u64,
}

/// What no ledger explains.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Unexplained {
    /// A worker that never was.
    Unknown { id: usize },
    /// More than the worker counted.
    TooMuch { id: usize, found: u64, upper: u64 },
    /// Less than this service said of a living worker before; 0 if it is not there at all.
    Backwards { id: usize, found: u64, said: u64 },
    /// A dead worker's count.
    Dead { id: usize },
    /// Living workers that are not in the answer, and are not all counted as late.
    Lost { ids: Vec<usize>, counts: Counts },
    /// Living workers whose counts are older than the question, and are not all counted as stale.
    Old { ids: Vec<usize>, counts: Counts },
    /// Not as many processes as counts.
    Crowd { n_counts: usize, n_workers: u64, counts: Counts },
    /// A sum over all that is not in the range that the workers' ledgers give.
    Total { found: u64, lower: u64, upper: u64 },
    /// Something in the directory that no worker put there, or a pipe that cannot be read.
    Foreign { counts: Counts },
}

impl fmt::Display for Unexplained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { id } => write!(f, "worker {id} is counted and never was"),
            Self::TooMuch { id, found, upper } => {
                write!(f, "worker {id} is counted with {found}, and counted to {upper} at most")
            }
            Self::Backwards { id, found: 0, said } => {
                write!(f, "worker {id} lives, was counted with {said} before, and is not counted any more")
            }
            Self::Backwards { id, found, said } => {
                write!(f, "worker {id} lives, was counted with {said} before, and goes back to {found}")
            }
            Self::Dead { id } => write!(f, "worker {id} is dead for long, and counted"),
            Self::Lost { ids, counts } => {
                write!(f, "workers {ids:?} live and are not counted, of processes: {counts}")
            }
            Self::Old { ids, counts } => {
                write!(f, "workers {ids:?} are counted with what they had before, of processes: {counts}")
            }
            Self::Crowd { n_counts, n_workers, counts } => write!(
                f,
                "{n_counts} workers are counted by name and {n_workers} by their gauge, of processes: {counts}"
            ),
            Self::Total { found, lower, upper } => {
                write!(f, "all together are counted with {found}, and counted from {lower} to {upper}")
            }
            Self::Foreign { counts } => {
                write!(f, "there is more than workers' pipes, of processes: {counts}")
            }
        }
    }
}

/// Returns what the ledgers do not explain of an answer; `known` has what is known of each worker, by id.
pub(crate) fn judge(answer: &Answer, known: &[Known]) -> Vec<Unexplained> {
    let mut unexplained = Vec::new();
    let (mut lost, mut old) = (Vec::new(), Vec::new());
    let (mut lower, mut upper) = (0, 0);
    for (id, known) in known.iter().enumerate() {
        let found = answer.own.get(&id).copied().unwrap_or(0);
        if found > known.upper {
            unexplained.push(Unexplained::TooMuch { id, found, upper: known.upper });
        }
        if found > 0 {
            upper += known.upper;
            if known.is_gone {
                unexplained.push(Unexplained::Dead { id });
            }
        }
        if !known.is_alive {
            continue;
        }
        if found < known.said {
            unexplained.push(Unexplained::Backwards { id, found, said: known.said });
        }
        match found {
            0 => lost.push(id),
            found if found < known.lower => old.push(id),
            _ => lower += known.lower,
        }
    }
    let counts = answer.counts;
    if lost.len() as u64 > counts.late {
        unexplained.push(Unexplained::Lost { ids: lost, counts });
    }
    if old.len() as u64 > counts.stale {
        unexplained.push(Unexplained::Old { ids: old, counts });
    }
    unexplained.extend(judge_sums(answer, lower, upper));
    let unknown = answer.own.keys().filter(|id| **id >= known.len());
    unexplained.extend(unknown.map(|id| Unexplained::Unknown { id: *id }));
    unexplained
}

fn judge_sums(answer: &Answer, lower: u64, upper: u64) -> Vec<Unexplained> {
    let Answer { ref own, total, n_workers, counts } = *answer;
    let mut unexplained = Vec::new();
    if own.len() as u64 != n_workers || counts.ok + counts.stale != n_workers {
        unexplained.push(Unexplained::Crowd { n_counts: own.len(), n_workers, counts });
    }
    if !(lower..=upper).contains(&total) {
        unexplained.push(Unexplained::Total { found: total, lower, upper });
    }
    if counts.unreadable + counts.ignored > 0 {
        unexplained.push(Unexplained::Foreign { counts });
    }
    unexplained
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const ALIVE: Known = Known { is_alive: true, is_gone: false, lower: 10, upper: 20, said: 5 };
    const ENDING: Known = Known { is_alive: false, ..ALIVE };
    const GONE: Known = Known { is_gone: true, ..ENDING };

    fn answer(own: &[(usize, u64)], ok: u64, stale: u64, late: u64) -> Answer {
        let counts = Counts { ok, stale, late, unreadable: 0, ignored: 0 };
        let total = own.iter().map(|(_, count)| count).sum();
        Answer { own: own.iter().copied().collect(), total, n_workers: own.len() as u64, counts }
    }

    fn complaints(answer: &Answer, known: &[Known]) -> Vec<String> {
        judge(answer, known).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_the_ledgers_allow_is_explained() {
        for (answer, known) in [
            (answer(&[], 0, 0, 0), &[][..]),
            (answer(&[(0, 10), (1, 20)], 2, 0, 0), &[ALIVE, ALIVE]),
            (answer(&[(1, 1)], 1, 0, 0), &[ENDING, ENDING]),
            (answer(&[(0, 5)], 0, 1, 0), &[ALIVE]),
            (answer(&[], 0, 0, 1), &[Known { said: 0, ..ALIVE }]),
            (answer(&[], 0, 0, 0), &[GONE]),
        ] {
            assert_eq!(judge(&answer, known), [], "{answer:?}");
        }
    }

    #[test]
    fn each_thing_that_goes_wrong_is_told() {
        let unexplained = |answer: &Answer, known: &[Known]| complaints(answer, known).join("; ");
        for (answer, known, expected) in [
            (answer(&[(7, 1)], 1, 0, 0), ALIVE, "worker 7 is counted and never was"),
            (answer(&[(0, 21)], 1, 0, 0), ALIVE, "worker 0 is counted with 21, and counted to 20 at most"),
            (
                answer(&[(0, 4)], 0, 1, 0),
                ALIVE,
                "worker 0 lives, was counted with 5 before, and goes back to 4",
            ),
            (
                answer(&[], 0, 0, 1),
                ALIVE,
                "worker 0 lives, was counted with 5 before, and is not counted any more",
            ),
            (answer(&[(0, 15)], 1, 0, 0), GONE, "worker 0 is dead for long, and counted"),
            (
                answer(&[], 0, 0, 0),
                Known { said: 0, ..ALIVE },
                "workers [0] live and are not counted, of processes: 0 ok, 0 stale, 0 late, 0 unreadable, 0 ignored",
            ),
            (answer(&[(0, 9)], 1, 0, 0), ALIVE, "workers [0] are counted with what they had before"),
            (answer(&[(0, 15)], 2, 0, 0), ALIVE, "1 workers are counted by name and 1 by their gauge"),
        ] {
            let found = unexplained(&answer, &[known]);
            assert!(found.contains(expected), "{found}");
        }
    }

    #[test]
    fn a_sum_over_all_that_is_not_theirs_is_told() {
        let known = [ALIVE, ENDING];
        let sums = |total| Answer { total, ..answer(&[(0, 15), (1, 1)], 2, 0, 0) };
        assert_eq!(complaints(&sums(10), &known), [""; 0]);
        assert_eq!(complaints(&sums(40), &known), [""; 0]);
        assert_eq!(
            complaints(&sums(9), &known),
            ["all together are counted with 9, and counted from 10 to 40"]
        );
        assert!(!complaints(&sums(41), &known).is_empty());
    }

    #[test]
    fn files_that_no_worker_made_are_told() {
        let counts = Counts { ignored: 1, ..Counts::default() };
        let answer = Answer { own: BTreeMap::new(), total: 0, n_workers: 0, counts };
        assert_eq!(
            complaints(&answer, &[]),
            [
                "there is more than workers' pipes, of processes: 0 ok, 0 stale, 0 late, 0 unreadable, 1 ignored"
            ]
        );
    }
}
