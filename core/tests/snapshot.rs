//! Tests of snapshots: small buffers, changes between pieces, JSON.
//!
//! Property: the text does not depend on the buffer, and it has the same stats as `for_each`.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use proptest::prelude::*;
use statvent_core::line::{BufferTooSmall, MAX_OWN_LINE_BYTES, Number, parse_line};
use statvent_core::{Registry, Value};

fn filled() -> Box<Registry<8, 2, 128>> {
    let stats: Box<Registry<8, 2, 128>> = Box::default();
    stats.incr("a", 1);
    stats.set("long name of a stat", 1.5);
    for sample in 0..5 {
        stats.record("lat.{0}", sample);
    }
    stats.incr("", 1);
    stats
}

fn text(stats: &Registry<8, 2, 128>, buffer_bytes: usize) -> Vec<u8> {
    let (mut snapshot, mut out, mut text) = (stats.snapshot(), vec![0; buffer_bytes], Vec::new());
    loop {
        match snapshot.fill(&mut out).unwrap() {
            0 => return text,
            n_bytes => text.extend_from_slice(&out[..n_bytes]),
        }
    }
}

proptest! {
    #[test]
    fn the_text_does_not_depend_on_the_buffer(buffer_bytes in 28usize..400) {
        let stats = filled();
        prop_assert_eq!(text(&stats, buffer_bytes), text(&stats, 4096));
    }
}

#[test]
fn for_each_and_the_text_are_equal() {
    let stats = filled();
    let text = text(&stats, MAX_OWN_LINE_BYTES);
    let mut lines = text.split_inclusive(|byte| *byte == b'\n').map(|line| parse_line(line).unwrap());
    stats.for_each(|name, value| {
        let line = lines.next().unwrap();
        assert_eq!((line.name, line.value), (name, Number::from(value)));
    });
    assert!(lines.next().is_none());
}

#[test]
fn a_buffer_too_small_for_one_line_is_an_error_and_the_line_is_not_lost() {
    let stats: Box<Registry<2, 0, 16>> = Box::default();
    stats.incr("abc", 12);
    let mut snapshot = stats.snapshot();
    assert_eq!(snapshot.fill(&mut [0; 7]), Err(BufferTooSmall { needed: 8, available: 7 }));
    let mut out = [0; 8];
    assert_eq!(snapshot.fill(&mut out), Ok(8));
    assert_eq!(&out, b"abc: 12\n");
    assert_eq!(snapshot.fill(&mut out), Ok(0));
    assert_eq!(snapshot.fill(&mut []), Ok(0));
}

#[test]
fn the_lines_of_a_series_come_from_one_moment_even_if_samples_arrive_between_pieces() {
    let stats: Box<Registry<2, 1, 16>> = Box::default();
    stats.record("{0}", 1);
    let mut snapshot = stats.snapshot();
    let mut out = [0; 20];
    let n_bytes = snapshot.fill(&mut out).unwrap();
    assert_eq!(&out[..n_bytes], b"median: 1.0\n");
    stats.record("{0}", 1000);
    let mut rest = [0; 100];
    let n_bytes = snapshot.fill(&mut rest).unwrap();
    assert_eq!(&rest[..n_bytes], b"95th: 1.0\n99th: 1.0\n100th: 1.0\nmean: 1.0\n");
}

#[test]
fn a_stat_registered_between_pieces_is_included() {
    let stats: Box<Registry<4, 1, 16>> = Box::default();
    stats.incr("a", 1);
    stats.incr("b", 1);
    let mut snapshot = stats.snapshot();
    let mut out = [0; 5];
    assert_eq!(snapshot.fill(&mut out), Ok(5));
    stats.incr("c", 1);
    let mut rest = [0; 100];
    let n_bytes = snapshot.fill(&mut rest).unwrap();
    assert_eq!(&rest[..n_bytes], b"b: 1\nc: 1\n");
}

#[test]
fn a_series_without_samples_has_no_lines() {
    let stats: Box<Registry<4, 1, 16>> = Box::default();
    let _ = stats.series("s.{0}");
    assert_eq!(stats.snapshot().fill(&mut [0; 100]), Ok(0));
}

#[cfg(feature = "json")]
mod json {
    use super::*;
    use statvent_core::json::JsonTooLong;

    fn json(stats: &Registry<8, 2, 128>) -> String {
        let mut out = [0; 1024];
        let n_bytes = stats.reader().write_json(&mut out).unwrap();
        String::from_utf8(out[..n_bytes].to_vec()).unwrap()
    }

    #[test]
    fn json_shows_every_kind_of_value_and_name() {
        let stats: Box<Registry<8, 2, 128>> = Box::default();
        stats.set("int", i64::MIN);
        stats.set("float", 42.0);
        stats.set("nan", f64::NAN);
        stats.set(b"\xff \"\\\x01", 1);
        stats.record("{0}", 2);
        assert_eq!(
            json(&stats),
            concat!(
                r#"{"int":-9223372036854775808,"float":42.0,"nan":null,"\\xff \"\\\u0001":1,"#,
                r#""median":2.0,"95th":2.0,"99th":2.0,"100th":2.0,"mean":2.0}"#
            )
        );
    }

    #[test]
    fn json_of_an_empty_registry_is_an_empty_object() {
        assert_eq!(json(&Registry::new()), "{}");
    }

    #[test]
    fn json_that_does_not_fit_is_an_error() {
        let stats = filled();
        for available in [0, 1, 20, 100] {
            assert_eq!(stats.reader().write_json(&mut vec![0; available]), Err(JsonTooLong { available }));
        }
        let message = JsonTooLong { available: 20 }.to_string();
        assert_eq!(message, "the stats as JSON do not fit the buffer of 20 bytes: give a larger one");
    }
}

#[test]
fn two_readers_at_once_read_the_same_text() {
    let stats = filled();
    let (mut one, mut two) = (stats.snapshot(), stats.snapshot());
    let (mut left, mut right) = ([0; 30], [0; 30]);
    loop {
        let n_bytes = one.fill(&mut left).unwrap();
        assert_eq!(two.fill(&mut right), Ok(n_bytes));
        assert_eq!(left[..n_bytes], right[..n_bytes]);
        if n_bytes == 0 {
            break;
        }
    }
    assert_eq!(stats.get("a"), Some(Value::Int(1)));
}
