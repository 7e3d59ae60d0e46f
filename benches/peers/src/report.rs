//! The report: a table for people and result lines for programs.
//!
//! Owns both formats and the choice of the best peer: the other crate with the lowest median that needs no manual flush.
//! It measures nothing.

use std::fmt;

use crate::contender::{Contender, Kind, Measurement};
use crate::measure::Timing;
use crate::statistics::Summary;

/// One contender's results in one measurement.
pub(crate) struct Row {
    name: &'static str,
    path: &'static str,
    kind: Kind,
    summary: Option<Summary>,
    n_discarded: usize,
    allocations: f64,
}

impl Row {
    pub(crate) fn new(contender: &Contender, timing: &Timing, allocations: f64) -> Self {
        let Contender { name, path, kind, .. } = *contender;
        let summary = Summary::from_values(&timing.ns_per_unit);
        Self { name, path, kind, summary, n_discarded: timing.n_discarded, allocations }
    }

    fn median(&self) -> Option<f64> {
        self.summary.map(|summary| summary.median)
    }
}

/// The results of one measurement on one number of threads.
pub(crate) struct Table {
    pub(crate) measurement: Measurement,
    pub(crate) n_threads: usize,
    pub(crate) rows: Vec<Row>,
    /// Crates without this measurement, each with the reason.
    pub(crate) absent: Vec<(&'static str, &'static str)>,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { measurement, n_threads, .. } = self;
        let threads =
            if *n_threads == 1 { "1 thread".to_owned() } else { format!("{n_threads} threads at once") };
        writeln!(f, "{}, {threads}: ns a {}", measurement.name(), measurement.unit())?;
        writeln!(f, "      min   median  allocs  lost")?;
        for row in &self.rows {
            let [min, median] =
                row.summary.map_or([None; 2], |summary| [Some(summary.min), Some(summary.median)]);
            let mark = match row.kind {
                Kind::Ours => '>',
                Kind::ManualFlush => '*',
                Kind::Floor | Kind::OtherFloor => '_',
                Kind::Peer => ' ',
            };
            let Row { name, path, n_discarded, allocations, .. } = row;
            let [min, median] = [min, median].map(format_ns);
            writeln!(f, "{min:>9}{median:>9}{allocations:>8}{n_discarded:>6} {mark} {name:<19}{path}")?;
        }
        for (name, why) in &self.absent {
            writeln!(f, "{:>9}{:>9}{:>8}{:>6}   {name:<19}{why}", "-", "-", "-", "-")?;
        }
        Ok(())
    }
}

impl Table {
    /// The result lines for programs: the times and, with one thread, the allocations.
    pub(crate) fn results(&self) -> Vec<String> {
        let name = self.measurement.name();
        let times = match self.measurement {
            Measurement::Text => name.to_owned(),
            _ => format!("{name}_{}t", self.n_threads),
        };
        let mut results = vec![self.result(&times, Row::median, format_ns)];
        if self.n_threads == 1 {
            let allocations = |row: &Row| Some(row.allocations);
            let count = |count: Option<f64>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
            results.push(self.result(&format!("allocations_{name}"), allocations, count));
        }
        results
    }

    fn result(
        &self,
        name: &str,
        value: impl Fn(&Row) -> Option<f64>,
        format: impl Fn(Option<f64>) -> String,
    ) -> String {
        let best = |kind| {
            let rows = self.rows.iter().filter(|row| row.kind == kind);
            rows.filter_map(|row| Some((value(row)?, row.name))).min_by(|a, b| a.0.total_cmp(&b.0))
        };
        let best_value = |kind| format(best(kind).map(|(value, _)| value));
        let peer = best(Kind::Peer).map_or_else(|| "-".to_owned(), |(_, name)| name.replace(", ", "-"));
        let [ours, best_peer, floor] = [Kind::Ours, Kind::Peer, Kind::Floor].map(best_value);
        format!("RESULT {name} statvent={ours} best_peer={best_peer} peer={peer} floor={floor}")
    }
}

/// Formats a time with three significant digits; a dash if there is none.
fn format_ns(ns: Option<f64>) -> String {
    match ns {
        None => "-".to_owned(),
        Some(ns) if ns < 10.0 => format!("{ns:.2}"),
        Some(ns) if ns < 100.0 => format!("{ns:.1}"),
        Some(ns) => format!("{ns:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: Kind, name: &'static str, median: Option<f64>) -> Row {
        let summary = median.map(|median| Summary { min: median / 2.0, median });
        Row { name, path: "path", kind, summary, n_discarded: 0, allocations: 1.5 }
    }

    fn table(rows: Vec<Row>) -> Table {
        Table { measurement: Measurement::Set, n_threads: 1, rows, absent: vec![("absent", "cannot")] }
    }

    #[test]
    fn best_peer_is_the_fastest_other_crate_without_manual_flush() {
        let table = table(vec![
            row(Kind::Ours, "statvent", Some(0.5)),
            row(Kind::Peer, "slow", Some(30.0)),
            row(Kind::Peer, "fast, sharded", Some(20.04)),
            row(Kind::ManualFlush, "by hand", Some(1.0)),
            row(Kind::Floor, "store", Some(0.2)),
            row(Kind::OtherFloor, "fetch_add", Some(0.1)),
        ]);
        assert_eq!(
            table.results(),
            [
                "RESULT set_1t statvent=0.50 best_peer=20.0 peer=fast-sharded floor=0.20",
                "RESULT allocations_set statvent=1.5 best_peer=1.5 peer=slow floor=1.5",
            ]
        );
    }

    #[test]
    fn a_missing_time_is_a_dash() {
        let table = table(vec![row(Kind::Ours, "statvent", Some(123.4)), row(Kind::Peer, "unlucky", None)]);
        assert_eq!(table.results()[0], "RESULT set_1t statvent=123 best_peer=- peer=- floor=-");
        assert!(table.to_string().contains("        -        -       -     -   absent             cannot\n"));
    }
}
