//! Property of snapshots and their sums: both agree with a naive implementation, in bounded memory.
//!
//! Holds for any bytes that several processes write, in any chunks. The first bytes of the input determine the number of
//! pipes and the sizes of the chunks.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use statvent_core::line::{Line, MAX_LINE_BYTES, Number, parse_line};
use statvent_web::aggregate::{Sum, aggregate};
use statvent_web::collect::{Counts, ProcessSnapshot, SnapshotBuilder};
use statvent_web::encode::json::encode_json;

/// The most memory that a snapshot may take: for each byte that was written, and for itself.
const MEMORY_PER_BYTE: usize = 16;
const MEMORY_PER_SNAPSHOT: usize = 4096;

pub(crate) fn collect(input: &[u8]) {
    let (head, mut stream) = input.split_at(input.len().min(5));
    let n_pipes = 1 + usize::from(head.first().copied().unwrap_or_default() % 4);
    let mut cuts = head.iter().skip(1).map(|cut| usize::from(*cut) * 3 + 1).cycle();
    let mut builders: Vec<_> = (0..n_pipes).map(|_| SnapshotBuilder::default()).collect();
    let mut texts = vec![Vec::new(); n_pipes];
    for pipe in (0..n_pipes).cycle() {
        let (chunk, rest) = stream.split_at(cuts.next().unwrap_or(1).min(stream.len()));
        builders[pipe].feed(chunk).expect("less than the limits");
        texts[pipe].extend_from_slice(chunk);
        let n_bytes = builders[pipe].n_bytes();
        assert!(n_bytes <= MEMORY_PER_BYTE * texts[pipe].len() + MEMORY_PER_SNAPSHOT, "{n_bytes} bytes");
        stream = rest;
        if stream.is_empty() {
            break;
        }
    }
    let snapshots: Vec<_> = builders.into_iter().map(SnapshotBuilder::finish).collect();
    for (snapshot, text) in snapshots.iter().zip(&texts) {
        assert_snapshot(snapshot, text);
    }
    let sums = aggregate(&snapshots);
    assert_sums(&sums, &texts);
    let body = encode_json(&sums, 1.5, &Counts::default()).expect("sums that can be encoded");
    serde_json::from_slice::<&RawValue>(&body).expect("JSON");
}

/// Stats, and the number of malformed lines: splits the whole text and parses each line.
fn naive(text: &[u8]) -> (Vec<(&[u8], Number<'_>)>, usize) {
    let mut lines: Vec<_> = text.split(|byte| *byte == b'\n').collect();
    let torn = lines.pop().unwrap_or_default();
    let stats: Vec<_> =
        lines.iter().filter_map(|line| parse(line)).map(|line| (line.name, line.value)).collect();
    let n_malformed = lines.len() - stats.len() + usize::from(!torn.is_empty());
    (stats, n_malformed)
}

fn parse(line: &[u8]) -> Option<Line<'_>> {
    if line.len() > MAX_LINE_BYTES { None } else { parse_line(line).ok() }
}

fn assert_snapshot(snapshot: &ProcessSnapshot, text: &[u8]) {
    let (stats, n_malformed) = naive(text);
    assert_eq!((snapshot.n_stats(), snapshot.n_malformed()), (stats.len(), n_malformed));
    for (found, expected) in snapshot.stats().zip(stats) {
        assert!(found.0 == expected.0 && same(found.1, expected.1), "{found:?}, expected {expected:?}");
    }
}

fn same(left: Number<'_>, right: Number<'_>) -> bool {
    match (left, right) {
        (Number::Float(left), Number::Float(right)) => left.to_bits() == right.to_bits(),
        (left, right) => left == right,
    }
}

/// Compares with sums in 128 bits; skips names whose sum exceeds them.
fn assert_sums(sums: &[(&[u8], Sum)], texts: &[Vec<u8>]) {
    let mut values = BTreeMap::<&[u8], Vec<Number<'_>>>::new();
    for text in texts {
        let last: BTreeMap<_, _> = naive(text).0.into_iter().collect();
        last.into_iter().for_each(|(name, value)| values.entry(name).or_default().push(value));
    }
    assert!(sums.iter().map(|(name, _)| name).eq(values.keys()), "each name once, in order");
    for ((name, sum), values) in sums.iter().zip(values.values()) {
        if let Some(expected) = naive_sum(values) {
            let is_equal = match (sum, &expected) {
                (Sum::Float(sum), Sum::Float(expected)) => {
                    sum.to_bits() == expected.to_bits() || (sum.is_nan() && expected.is_nan())
                }
                (sum, expected) => sum == expected,
            };
            assert!(is_equal, "{}: {sum:?}, expected {expected:?}", name.escape_ascii());
        }
    }
}

fn naive_sum(values: &[Number<'_>]) -> Option<Sum> {
    let mut ints = 0_i128;
    let mut floats = None;
    for value in values {
        match value {
            Number::Int(int) => ints = ints.checked_add(i128::from(*int))?,
            Number::BigInt(digits) => ints = ints.checked_add(str::from_utf8(digits).ok()?.parse().ok()?)?,
            Number::Float(float) => floats = Some(floats.map_or(*float, |sum: f64| sum + float)),
        }
    }
    Some(floats.map_or(Sum::Int(ints), |floats| Sum::Float(floats + ints as f64)))
}
