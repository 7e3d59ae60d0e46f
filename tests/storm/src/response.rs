//! The response of a service: the count of each worker, their sum, and the processes by status.
//!
//! Owns the parsing of the JSON body. It does not check whether the numbers are right: that is `verify`'s part.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::worker::{OWN_PREFIX, TOTAL, WORKERS};

/// One response.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Response {
    /// The count of each worker, by id. Counts of 0 are left out: they come from children that inherited the name.
    pub(crate) own: BTreeMap<usize, u64>,
    /// The sum of the stat that all workers count.
    pub(crate) total: u64,
    /// The sum of a gauge that is 1 in each worker.
    pub(crate) n_workers: u64,
    pub(crate) processes: ProcessCounts,
}

/// The number of processes by status.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct ProcessCounts {
    pub(crate) ok: u64,
    pub(crate) stale: u64,
    pub(crate) late: u64,
    pub(crate) unreadable: u64,
    pub(crate) ignored: u64,
}

impl fmt::Display for ProcessCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ok, stale, late, unreadable, ignored } = self;
        write!(f, "{ok} ok, {stale} stale, {late} late, {unreadable} unreadable, {ignored} ignored")
    }
}

impl Response {
    /// Parses the body of a response; `None` if it has another form.
    pub(crate) fn parse(body: &str) -> Option<Self> {
        let body: Value = serde_json::from_str(body).ok()?;
        let mut response = Self { processes: parse_processes(&body["processes"])?, ..Self::default() };
        for (name, value) in body["stats"].as_object()? {
            match name.as_str() {
                TOTAL => response.total = value.as_u64()?,
                WORKERS => response.n_workers = value.as_u64()?,
                name => {
                    let Some(id) = name.strip_prefix(OWN_PREFIX) else { continue };
                    if let count @ 1.. = value.as_u64()? {
                        response.own.insert(id.parse().ok()?, count);
                    }
                }
            }
        }
        Some(response)
    }
}

fn parse_processes(processes: &Value) -> Option<ProcessCounts> {
    let count = |name: &str| processes[name].as_u64();
    Some(ProcessCounts {
        ok: count("ok")?,
        stale: count("stale")?,
        late: count("late")?,
        unreadable: count("unreadable")?,
        ignored: count("ignored")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_count_is_not_taken_for_a_worker() {
        let body = r#"{"stats":{"storm.total":7,"storm.w.3":7,"storm.w.4":0,"storm.workers":1,"x":null},
            "timestamp":1.5,"processes":{"ok":1,"stale":2,"late":3,"unreadable":4,"ignored":5}}"#;
        let processes = ProcessCounts { ok: 1, stale: 2, late: 3, unreadable: 4, ignored: 5 };
        let expected = Response { own: BTreeMap::from([(3, 7)]), total: 7, n_workers: 1, processes };
        assert_eq!(Response::parse(body), Some(expected));
    }

    #[test]
    fn a_body_of_another_form_is_refused() {
        for body in ["", "{}", r#"{"stats":{}}"#, r#"{"message":"busy"}"#] {
            assert_eq!(Response::parse(body), None, "{body}");
        }
    }
}
