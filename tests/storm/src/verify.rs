//! The test oracle: checks a response against the tallies of the workers.
//!
//! Owns the rules: no worker is lost, none is counted twice, no count goes backwards, dead workers are gone. A response may
//! lack as many workers as it reports `late` and `stale` processes, and no more. Pure: the expectations are parameters.

use std::fmt;

use crate::response::{ProcessCounts, Response};

/// What is known of one worker around one request to one service. The default is an unknown worker.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Expectation {
    /// It published before the request, and no signal to end it was sent before the response.
    pub(crate) is_running: bool,
    /// It had been dead for long before the request.
    pub(crate) is_gone: bool,
    /// The least that it can have counted before the request.
    pub(crate) lower: u64,
    /// The most that it can have counted after the response.
    pub(crate) upper: u64,
    /// The highest count of it in responses of this service before the request.
    pub(crate) reported: u64,
}

/// A difference between a response and the tallies that no rule allows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Violation {
    /// A worker that never existed.
    UnknownWorker { id: usize },
    /// More than the worker counted.
    TooHigh { id: usize, found: u64, upper: u64 },
    /// Less than this service reported of a running worker before; 0 if the worker is missing.
    Backwards { id: usize, found: u64, reported: u64 },
    /// A count of a dead worker.
    Dead { id: usize },
    /// More running workers are missing than there are late processes.
    Missing { ids: Vec<usize>, processes: ProcessCounts },
    /// More running workers have counts from before the request than there are stale processes.
    Outdated { ids: Vec<usize>, processes: ProcessCounts },
    /// The number of processes differs from the number of counts.
    ProcessCount { n_counts: usize, n_workers: u64, processes: ProcessCounts },
    /// The sum over all workers is outside of the range that their tallies give.
    Total { found: u64, lower: u64, upper: u64 },
    /// A file in the directory that no worker created, or a pipe that cannot be read.
    Foreign { processes: ProcessCounts },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownWorker { id } => write!(f, "found a count of worker {id}, which never existed"),
            Self::TooHigh { id, found, upper } => {
                write!(f, "found {found} of worker {id}, expected at most {upper}, as it counted")
            }
            Self::Backwards { id, found: 0, reported } => {
                write!(f, "found no count of worker {id}, expected at least {reported}, as reported before")
            }
            Self::Backwards { id, found, reported } => {
                write!(f, "found {found} of worker {id}, expected at least {reported}, as reported before")
            }
            Self::Dead { id } => write!(f, "found a count of worker {id}, which has been dead for long"),
            Self::Missing { ids, processes } => {
                write!(f, "workers {ids:?} run and are missing; processes: {processes}")
            }
            Self::Outdated { ids, processes } => {
                write!(f, "workers {ids:?} have counts from before the request; processes: {processes}")
            }
            Self::ProcessCount { n_counts, n_workers, processes } => write!(
                f,
                "found the counts of {n_counts} workers and the gauges of {n_workers}; processes: {processes}"
            ),
            Self::Total { found, lower, upper } => {
                write!(f, "found a total of {found}, expected {lower} to {upper}")
            }
            Self::Foreign { processes } => {
                write!(f, "found other files than pipes of workers; processes: {processes}")
            }
        }
    }
}

/// Returns the violations in a response. `expectations` are indexed by the id of the worker.
pub(crate) fn verify(response: &Response, expectations: &[Expectation]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let (mut missing, mut outdated) = (Vec::new(), Vec::new());
    let (mut lower, mut upper) = (0, 0);
    for (id, expected) in expectations.iter().enumerate() {
        let found = response.own.get(&id).copied().unwrap_or(0);
        if found > expected.upper {
            violations.push(Violation::TooHigh { id, found, upper: expected.upper });
        }
        if found > 0 {
            upper += expected.upper;
            if expected.is_gone {
                violations.push(Violation::Dead { id });
            }
        }
        if !expected.is_running {
            continue;
        }
        if found < expected.reported {
            violations.push(Violation::Backwards { id, found, reported: expected.reported });
        }
        match found {
            0 => missing.push(id),
            found if found < expected.lower => outdated.push(id),
            _ => lower += expected.lower,
        }
    }
    let processes = response.processes;
    if missing.len() as u64 > processes.late {
        violations.push(Violation::Missing { ids: missing, processes });
    }
    if outdated.len() as u64 > processes.stale {
        violations.push(Violation::Outdated { ids: outdated, processes });
    }
    violations.extend(verify_sums(response, lower, upper));
    let unknown = response.own.keys().filter(|id| **id >= expectations.len());
    violations.extend(unknown.map(|id| Violation::UnknownWorker { id: *id }));
    violations
}

fn verify_sums(response: &Response, lower: u64, upper: u64) -> Vec<Violation> {
    let Response { ref own, total, n_workers, processes } = *response;
    let mut violations = Vec::new();
    if own.len() as u64 != n_workers || processes.ok + processes.stale != n_workers {
        violations.push(Violation::ProcessCount { n_counts: own.len(), n_workers, processes });
    }
    if !(lower..=upper).contains(&total) {
        violations.push(Violation::Total { found: total, lower, upper });
    }
    if processes.unreadable + processes.ignored > 0 {
        violations.push(Violation::Foreign { processes });
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const RUNNING: Expectation =
        Expectation { is_running: true, is_gone: false, lower: 10, upper: 20, reported: 5 };
    const ENDING: Expectation = Expectation { is_running: false, ..RUNNING };
    const GONE: Expectation = Expectation { is_gone: true, ..ENDING };

    fn response(own: &[(usize, u64)], ok: u64, stale: u64, late: u64) -> Response {
        let processes = ProcessCounts { ok, stale, late, unreadable: 0, ignored: 0 };
        let total = own.iter().map(|(_, count)| count).sum();
        Response { own: own.iter().copied().collect(), total, n_workers: own.len() as u64, processes }
    }

    fn messages(response: &Response, expectations: &[Expectation]) -> Vec<String> {
        verify(response, expectations).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_response_within_the_bounds_has_no_violations() {
        for (response, expectations) in [
            (response(&[], 0, 0, 0), &[][..]),
            (response(&[(0, 10), (1, 20)], 2, 0, 0), &[RUNNING, RUNNING]),
            (response(&[(1, 1)], 1, 0, 0), &[ENDING, ENDING]),
            (response(&[(0, 5)], 0, 1, 0), &[RUNNING]),
            (response(&[], 0, 0, 1), &[Expectation { reported: 0, ..RUNNING }]),
            (response(&[], 0, 0, 0), &[GONE]),
        ] {
            assert_eq!(verify(&response, expectations), [], "{response:?}");
        }
    }

    #[test]
    fn each_violation_is_reported() {
        let joined =
            |response: &Response, expectations: &[Expectation]| messages(response, expectations).join("; ");
        for (response, expectation, expected) in [
            (response(&[(7, 1)], 1, 0, 0), RUNNING, "found a count of worker 7, which never existed"),
            (
                response(&[(0, 21)], 1, 0, 0),
                RUNNING,
                "found 21 of worker 0, expected at most 20, as it counted",
            ),
            (
                response(&[(0, 4)], 0, 1, 0),
                RUNNING,
                "found 4 of worker 0, expected at least 5, as reported before",
            ),
            (
                response(&[], 0, 0, 1),
                RUNNING,
                "found no count of worker 0, expected at least 5, as reported before",
            ),
            (response(&[(0, 15)], 1, 0, 0), GONE, "found a count of worker 0, which has been dead for long"),
            (
                response(&[], 0, 0, 0),
                Expectation { reported: 0, ..RUNNING },
                "workers [0] run and are missing; processes: 0 ok, 0 stale, 0 late, 0 unreadable, 0 ignored",
            ),
            (
                response(&[(0, 9)], 1, 0, 0),
                RUNNING,
                "workers [0] have counts from before the request; processes: 1 ok",
            ),
            (
                response(&[(0, 15)], 2, 0, 0),
                RUNNING,
                "found the counts of 1 workers and the gauges of 1; processes: 2 ok",
            ),
        ] {
            let found = joined(&response, &[expectation]);
            assert!(found.contains(expected), "{found}");
        }
    }

    #[test]
    fn a_total_out_of_range_is_reported() {
        let expectations = [RUNNING, ENDING];
        let with_total = |total| Response { total, ..response(&[(0, 15), (1, 1)], 2, 0, 0) };
        assert_eq!(messages(&with_total(10), &expectations), [""; 0]);
        assert_eq!(messages(&with_total(40), &expectations), [""; 0]);
        assert_eq!(messages(&with_total(9), &expectations), ["found a total of 9, expected 10 to 40"]);
        assert!(!messages(&with_total(41), &expectations).is_empty());
    }

    #[test]
    fn files_that_no_worker_created_are_reported() {
        let processes = ProcessCounts { ignored: 1, ..ProcessCounts::default() };
        let response = Response { own: BTreeMap::new(), total: 0, n_workers: 0, processes };
        assert_eq!(
            messages(&response, &[]),
            [
                "found other files than pipes of workers; processes: 0 ok, 0 stale, 0 late, 0 unreadable, 1 ignored"
            ]
        );
    }
}
