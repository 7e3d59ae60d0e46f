//! What a service answered: each worker's own count, what all of them counted, and how the processes stand.
//!
//! Owns the reading of the JSON. It judges nothing (see `judge`). Called by `service`.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::worker::{OWN_PREFIX, TOTAL, WORKERS};

/// One answer.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Answer {
    /// Each worker's own count. A count of 0 is none: it comes from a child that inherited the name.
    pub(crate) own: BTreeMap<usize, u64>,
    /// The sum of what they counted together.
    pub(crate) total: u64,
    /// The sum of a gauge that is 1 in each.
    pub(crate) n_workers: u64,
    pub(crate) counts: Counts,
}

/// How the processes stand.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counts {
    pub(crate) ok: u64,
    pub(crate) stale: u64,
    pub(crate) late: u64,
    pub(crate) unreadable: u64,
    pub(crate) ignored: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ok, stale, late, unreadable, ignored } = self;
        write!(f, "{ok} ok, {stale} stale, {late} late, {unreadable} unreadable, {ignored} ignored")
    }
}

impl Answer {
    /// Reads an answer's body; `None` if it is not one.
    pub(crate) fn parse(body: &str) -> Option<Self> {
        let body: Value = serde_json::from_str(body).ok()?;
        let mut answer = Self { counts: parse_counts(&body["processes"])?, ..Self::default() };
        for (name, value) in body["stats"].as_object()? {
            match name.as_str() {
                TOTAL => answer.total = value.as_u64()?,
                WORKERS => answer.n_workers = value.as_u64()?,
                name => {
                    let Some(id) = name.strip_prefix(OWN_PREFIX) else { continue };
                    if let count @ 1.. = value.as_u64()? {
                        answer.own.insert(id.parse().ok()?, count);
                    }
                }
            }
        }
        Some(answer)
    }
}

fn parse_counts(counts: &Value) -> Option<Counts> {
    let count = |name: &str| counts[name].as_u64();
    Some(Counts {
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
    fn a_name_that_a_child_inherited_counts_for_nobody() {
        let body = r#"{"stats":{"storm.total":7,"storm.w.3":7,"storm.w.4":0,"storm.workers":1,"x":null},
            "timestamp":1.5,"processes":{"ok":1,"stale":2,"late":3,"unreadable":4,"ignored":5}}"#;
        let counts = Counts { ok: 1, stale: 2, late: 3, unreadable: 4, ignored: 5 };
        let expected = Answer { own: BTreeMap::from([(3, 7)]), total: 7, n_workers: 1, counts };
        assert_eq!(Answer::parse(body), Some(expected));
    }

    #[test]
    fn what_is_no_answer_is_told() {
        for body in ["", "{}", r#"{"stats":{}}"#, r#"{"message":"busy"}"#] {
            assert_eq!(Answer::parse(body), None, "{body}");
        }
    }
}
