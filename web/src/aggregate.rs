//! Exact sums of the stats of many processes.
//!
//! Owns the rules of summing. Pure: it must not touch pipes, clocks or output formats.

use std::collections::HashMap;

use num_bigint::BigInt;
use statvent_core::line::Number;

use crate::collect::ProcessSnapshot;

/// The sum of one stat over all processes.
#[derive(Clone, Debug, PartialEq)]
pub enum Sum {
    /// An exact integer that 128 bits hold.
    Int(i128),
    /// An exact integer beyond 128 bits.
    BigInt(BigInt),
    /// A float, because at least one process wrote one.
    Float(f64),
}

/// Sums each stat over all snapshots; returns the sums sorted by the bytes of their names.
///
/// Integers are summed exactly, however large. If one process writes a float, the sum is a float: the floats are added in the
/// order of the snapshots, and the exact sum of the integers last. So the same snapshots in the same order give the same
/// bits. If a name comes twice in a snapshot, the last value counts.
///
/// Cost: one hash table lookup for each line, one table entry for each name. Names are borrowed.
///
/// ```
/// use statvent_web::aggregate::{aggregate, Sum};
/// use statvent_web::collect::ProcessSnapshot;
///
/// let one = ProcessSnapshot::parse(b"hits: 9223372036854775807\nload: 1\n")?;
/// let two = ProcessSnapshot::parse(b"hits: 9223372036854775807\nload: 0.5\n")?;
/// let sums = aggregate([&one, &two]);
/// assert_eq!(sums[0], (&b"hits"[..], Sum::Int(18_446_744_073_709_551_614)));
/// assert_eq!(sums[1], (&b"load"[..], Sum::Float(1.5)));
/// # Ok::<(), statvent_web::collect::SnapshotError>(())
/// ```
pub fn aggregate<'a>(snapshots: impl IntoIterator<Item = &'a ProcessSnapshot>) -> Vec<(&'a [u8], Sum)> {
    // Totals are large: the hash table holds only their positions, which are cheap to move when it grows.
    let mut positions = HashMap::<&[u8], usize>::new();
    let mut totals = Vec::<(&[u8], Total<'a>)>::new();
    for (snapshot_idx, snapshot) in snapshots.into_iter().enumerate() {
        for (name, value) in snapshot.stats() {
            let idx = *positions.entry(name).or_insert_with(|| {
                totals.push((name, Total::default()));
                totals.len() - 1
            });
            totals[idx].1.push(snapshot_idx, value);
        }
    }
    drop(positions);
    let mut sums: Vec<_> = totals.into_iter().map(|(name, total)| (name, total.finish())).collect();
    sums.sort_unstable_by_key(|(name, _)| *name);
    sums
}

/// The running sum of one stat.
#[derive(Default)]
struct Total<'a> {
    ints: i128,
    /// What exceeds 128 bits. Rare, so boxed to keep a total small.
    large: Option<Box<BigInt>>,
    floats: Option<f64>,
    /// The value of the current snapshot; not added yet, because a later line of that snapshot may replace it.
    newest: Option<(usize, Number<'a>)>,
}

impl<'a> Total<'a> {
    fn push(&mut self, snapshot_idx: usize, value: Number<'a>) {
        if let Some((newest_idx, newest)) = self.newest.replace((snapshot_idx, value))
            && newest_idx != snapshot_idx
        {
            self.add(newest);
        }
    }

    fn add(&mut self, value: Number<'_>) {
        match value {
            Number::Int(int) => self.add_int(int.into()),
            Number::BigInt(digits) => {
                let text = str::from_utf8(digits).unwrap_or_default();
                match text.parse() {
                    Ok(int) => self.add_int(int),
                    Err(_) => {
                        **self.large.get_or_insert_default() += text.parse::<BigInt>().unwrap_or_default()
                    }
                }
            }
            Number::Float(float) => self.floats = Some(self.floats.map_or(float, |sum| sum + float)),
        }
    }

    fn add_int(&mut self, int: i128) {
        self.ints = self.ints.checked_add(int).unwrap_or_else(|| {
            **self.large.get_or_insert_default() += self.ints;
            int
        });
    }

    fn finish(mut self) -> Sum {
        if let Some((_, newest)) = self.newest.take() {
            self.add(newest);
        }
        let large = self.large.map(|large| *large + self.ints);
        match (self.floats, large) {
            (None, None) => Sum::Int(self.ints),
            // A sum may return into 128 bits: equal values have equal variants.
            (None, Some(large)) => i128::try_from(&large).map_or(Sum::BigInt(large), Sum::Int),
            (Some(floats), None) => Sum::Float(floats + self.ints as f64),
            // Parsing rounds to the nearest float, or to infinity.
            (Some(floats), Some(large)) => Sum::Float(floats + large.to_string().parse().unwrap_or(f64::NAN)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn sums(texts: &[&str]) -> Vec<(String, Sum)> {
        let snapshots: Vec<_> =
            texts.iter().map(|text| ProcessSnapshot::parse(text.as_bytes()).unwrap()).collect();
        let sums = aggregate(&snapshots);
        sums.into_iter().map(|(name, sum)| (String::from_utf8_lossy(name).into_owned(), sum)).collect()
    }

    fn only_sum(texts: &[&str]) -> Sum {
        let sums = sums(texts);
        assert_eq!(sums.len(), 1, "{sums:?}");
        sums[0].1.clone()
    }

    #[test]
    fn no_stats_give_no_sums() {
        assert_eq!(sums(&[]), []);
        assert_eq!(sums(&["", "nonsense\n"]), []);
    }

    #[test]
    fn integers_stay_exact_beyond_64_and_128_bits() {
        let above_64 = "n: 18446744073709551617\n";
        assert_eq!(only_sum(&[above_64, "n: 9223372036854775807\n"]), Sum::Int(27_670_116_110_564_327_424));
        let largest = format!("n: {}\n", i128::MAX);
        let Sum::BigInt(sum) = only_sum(&[&largest, &largest, "n: 2\n"]) else { panic!("fits") };
        assert_eq!(sum.to_string(), "340282366920938463463374607431768211456");
    }

    #[test]
    fn a_sum_that_returns_into_128_bits_is_an_int() {
        let huge = "1".repeat(60);
        assert_eq!(only_sum(&[&format!("n: {huge}\n"), &format!("n: -{huge}\n"), "n: +7\n"]), Sum::Int(7));
    }

    #[test]
    fn one_float_makes_the_sum_a_float() {
        assert_eq!(only_sum(&["n: 1\n", "n: 0.5\n", "n: 2\n"]), Sum::Float(3.5));
        assert_eq!(only_sum(&["n: 1\n", "n: 2.0\n"]), Sum::Float(3.0));
        assert_eq!(only_sum(&[&format!("n: {}\n", "9".repeat(400)), "n: 1.0\n"]), Sum::Float(f64::INFINITY));
        let Sum::Float(sum) = only_sum(&["n: inf\n", "n: -inf\n"]) else { panic!("no float") };
        assert!(sum.is_nan());
    }

    #[test]
    fn the_last_of_a_name_s_values_counts_within_a_process() {
        assert_eq!(only_sum(&["n: 1\nn: 2\n", "n: 10.5\nn: 20\n"]), Sum::Int(22));
    }

    #[test]
    fn names_are_sorted_by_their_bytes() {
        let names: Vec<_> =
            sums(&["b: 1\na: b: 1\n", "B: 1\n: 1\n\u{e9}: 1\n"]).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["", "B", "a: b", "b", "\u{e9}"]);
    }

    /// Sums naively: keeps one value for each process and name, treats all integers as large, adds in the order of processes.
    fn naive(processes: &[Vec<(u8, String)>]) -> BTreeMap<u8, Sum> {
        let mut values = BTreeMap::<u8, Vec<String>>::new();
        for lines in processes {
            let last: BTreeMap<u8, String> = lines.iter().cloned().collect();
            last.into_iter().for_each(|(name, value)| values.entry(name).or_default().push(value));
        }
        values.into_iter().map(|(name, values)| (name, naive_sum(&values))).collect()
    }

    fn naive_sum(values: &[String]) -> Sum {
        let ints: BigInt = values.iter().filter_map(|value| value.parse::<BigInt>().ok()).sum();
        let floats: Vec<f64> = values
            .iter()
            .filter(|value| value.parse::<BigInt>().is_err())
            .map(|value| value.parse().unwrap())
            .collect();
        match floats.split_first() {
            Some((first, rest)) => Sum::Float(
                rest.iter().fold(*first, |sum, float| sum + float) + ints.to_string().parse::<f64>().unwrap(),
            ),
            None => i128::try_from(&ints).map_or(Sum::BigInt(ints), Sum::Int),
        }
    }

    fn value() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<i64>().prop_map(|int| int.to_string()),
            any::<i128>().prop_map(|int| int.to_string()),
            "[-+]?[0-9]{38,45}",
            (-1e9..1e9).prop_map(|float: f64| format!("{float:?}")),
        ]
    }

    proptest! {
        /// Sums of any snapshots agree with the naive ones to the last bit.
        #[test]
        fn sums_match_naive(
            processes in prop::collection::vec(prop::collection::vec((b'a'..=b'c', value()), 0..8), 0..6)
        ) {
            let line = |(name, value): &(u8, String)| format!("{}: {value}\n", char::from(*name));
            let texts: Vec<String> = processes.iter().map(|lines| lines.iter().map(line).collect()).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let sums: BTreeMap<u8, Sum> =
                sums(&texts).into_iter().map(|(name, sum)| (name.as_bytes()[0], sum)).collect();
            prop_assert_eq!(sums, naive(&processes));
        }
    }
}
