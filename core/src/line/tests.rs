//! Tests of the line format: properties, then tables of valid and invalid lines.
//!
//! Properties: parsing never panics and its offsets lie inside the line; a written line reads back equal; the lines
//! do not depend on the chunks.

use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::value::Value;

fn format(name: &[u8], value: Number<'_>) -> Vec<u8> {
    let mut out = vec![0; 8192];
    let n_bytes = format_line(name, value, &mut out).unwrap();
    out.truncate(n_bytes);
    out
}

#[test]
fn ok_lines() {
    use Number::{BigInt, Float, Int};
    let cases: &[(&[u8], &[u8], Number<'_>)] = &[
        (b"a.b.c.d: 42", b"a.b.c.d", Int(42)),
        (b"My Nice Stat: 123.45", b"My Nice Stat", Float(123.45)),
        (b"another[one]: 0", b"another[one]", Int(0)),
        (b"a: b: 7", b"a: b", Int(7)),
        (b"a:7", b"a", Int(7)),
        (b"  x  :  -3  ", b"x", Int(-3)),
        (b"n: +5", b"n", Int(5)),
        (b"f: 1e5", b"f", Float(1e5)),
        (b"f: 1E+5", b"f", Float(1e5)),
        (b"f: .5", b"f", Float(0.5)),
        (b"f: 5.", b"f", Float(5.0)),
        (b"f: Infinity", b"f", Float(f64::INFINITY)),
        (b"f: -inf", b"f", Float(f64::NEG_INFINITY)),
        (b"big: 18446744073709551617", b"big", BigInt(b"18446744073709551617")),
        (b"big: -9223372036854775809", b"big", BigInt(b"-9223372036854775809")),
        (b"edge: 9223372036854775807", b"edge", Int(i64::MAX)),
        (b"edge: -9223372036854775808", b"edge", Int(i64::MIN)),
        (b"zeros: 000000000000000000000000000007", b"zeros", Int(7)),
        (b": 4", b"", Int(4)),
        (b"a\tb: 1", b"a\tb", Int(1)),
        (b"rpc{q=\"0.5\"}: 1", b"rpc{q=\"0.5\"}", Int(1)),
        (b"nul\0: 1", b"nul\0", Int(1)),
        (b"\xff\xfe: 1", b"\xff\xfe", Int(1)),
        (b"crlf: 1\r\n", b"crlf", Int(1)),
        (b"vt\x0b:\x0c1", b"vt", Int(1)),
    ];
    for (text, name, value) in cases {
        assert_eq!(parse_line(text), Ok(Line { name, value: *value }), "{}", String::from_utf8_lossy(text));
    }
    for nan in [&b"f: nan"[..], b"f: NaN", b"f: -nan"] {
        assert!(matches!(parse_line(nan).unwrap().value, Float(float) if float.is_nan()));
    }
}

#[test]
fn err_lines() {
    let cases: &[(&[u8], LineError)] = &[
        (b"no colon", LineError::NoColon),
        (b"", LineError::Blank),
        (b" \r\n", LineError::Blank),
        (b"x: abc", LineError::NotANumber { at: 3 }),
        (b"x: 1_000", LineError::NotANumber { at: 3 }),
        (b"x: 1_000.5", LineError::NotANumber { at: 3 }),
        (b"x: 0x10", LineError::NotANumber { at: 3 }),
        (b"x: - 5", LineError::NotANumber { at: 3 }),
        (b"x: --5", LineError::NotANumber { at: 3 }),
        (b"x: 1 2", LineError::NotANumber { at: 3 }),
        (b"x: +", LineError::NotANumber { at: 3 }),
        (b"x: .", LineError::NotANumber { at: 3 }),
        (b"x: e5", LineError::NotANumber { at: 3 }),
        (b"x: \xff", LineError::NotANumber { at: 3 }),
        (b"x:", LineError::NotANumber { at: 2 }),
        (b"x:  ", LineError::NotANumber { at: 4 }),
        (b"a: 1\nb: 2", LineError::Newline { at: 4 }),
        (&[b':'; 4097], LineError::TooLong),
    ];
    for (text, error) in cases {
        assert_eq!(parse_line(text), Err(*error), "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn floats_are_short_and_look_like_floats() {
    let cases: &[(f64, &[u8])] = &[
        (123.45, b"n: 123.45\n"),
        (42.0, b"n: 42.0\n"),
        (0.1 + 0.2, b"n: 0.30000000000000004\n"),
        (-0.0, b"n: -0.0\n"),
        (5e-324, b"n: 5e-324\n"),
        (f64::NEG_INFINITY, b"n: -inf\n"),
    ];
    for (float, line) in cases {
        assert_eq!(format(b"n", Number::Float(*float)), *line);
    }
    for float in [1e15, 1e16, 1e17, 1e300, f64::MIN, f64::MAX, -f64::MIN_POSITIVE] {
        let line = format(b"n", Number::Float(float));
        assert!(line.iter().any(|byte| b".e".contains(byte)), "{}", String::from_utf8_lossy(&line));
        assert_eq!(parse_line(&line).unwrap().value, Number::Float(float));
    }
}

#[test]
fn the_longest_line_has_the_documented_length() {
    let longest = format(&[b'n'; 255], Number::Float(-f64::MIN_POSITIVE));
    assert_eq!(longest.len(), MAX_OWN_LINE_BYTES);
    assert!(format(&[b'n'; 255], Value::Int(i64::MIN).into()).len() <= MAX_OWN_LINE_BYTES);
}

#[test]
fn a_buffer_that_is_too_small_is_unchanged() {
    let mut out = [7; 4];
    let err = format_line(b"n", Value::Int(42), &mut out).unwrap_err();
    assert_eq!(err, BufferTooSmall { needed: 6, available: 4 });
    assert_eq!(
        err.to_string(),
        "the next line takes 6 bytes and the buffer has 4: 282 bytes hold every line"
    );
    assert_eq!(out, [7; 4]);
    assert_eq!(format_line(b"n", Value::Int(42), &mut [0; 6]), Ok(6));
}

#[test]
fn messages_say_what_to_do() {
    let cases = [
        (LineError::Blank, "the line is blank: expected \"name: value\""),
        (LineError::NoColon, "the line has no colon: expected \"name: value\""),
        (LineError::Newline { at: 4 }, "newline at byte 4 within a line: split the bytes into lines first"),
        (
            LineError::NotANumber { at: 3 },
            "the value at byte 3 is not a number: expected an integer or a float after the last colon",
        ),
        (LineError::TooLong, "the line is longer than 4096 bytes: skipped to its end"),
        (LineError::Torn, "the last line has no newline: its value may be cut short"),
    ];
    for (error, message) in cases {
        assert_eq!(error.to_string(), message);
    }
}

type Split = Vec<Result<Vec<u8>, LineError>>;

fn split<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Split, Result<(), LineError>) {
    let (mut splitter, mut lines) = (LineSplitter::new(), Vec::new());
    for chunk in chunks {
        splitter.feed(chunk, |line| lines.push(line.map(<[u8]>::to_vec)));
    }
    (lines, splitter.finish())
}

#[test]
fn a_line_of_the_largest_size_is_kept_and_a_longer_one_is_skipped_to_its_end() {
    for chunk_bytes in [1, 7, 4096, 4097, 10_000] {
        let mut text = vec![b'a'; MAX_LINE_BYTES];
        text.push(b'\n');
        text.extend_from_slice(&[b'b'; 3 * MAX_LINE_BYTES]);
        text.extend_from_slice(b"\nc: 1\n");
        let (lines, end) = split(text.chunks(chunk_bytes));
        let expected = [Ok(vec![b'a'; MAX_LINE_BYTES]), Err(LineError::TooLong), Ok(b"c: 1".to_vec())];
        assert_eq!((&lines[..], end), (&expected[..], Ok(())), "chunks of {chunk_bytes}");
    }
}

#[test]
fn a_last_line_without_newline_is_torn_and_the_next_stream_begins_clean() {
    let mut splitter = LineSplitter::new();
    splitter.feed(b"a: 1", |line| panic!("{line:?}"));
    assert_eq!(splitter.finish(), Err(LineError::Torn));
    let mut lines = Vec::new();
    splitter.feed(b"b: 2\n", |line| lines.push(line.map(<[u8]>::to_vec)));
    assert_eq!((lines, splitter.finish()), (vec![Ok(b"b: 2".to_vec())], Ok(())));
}

#[test]
fn a_stream_that_ends_in_an_over_long_line_reports_it_once() {
    assert_eq!(split([&[b'x'; 5000][..]]), (vec![Err(LineError::TooLong)], Ok(())));
}

fn numbers() -> impl Strategy<Value = Number<'static>> {
    prop_oneof![any::<i64>().prop_map(Number::Int), any::<f64>().prop_map(Number::Float)]
}

fn is_same(left: Number<'_>, right: Number<'_>) -> bool {
    match (left, right) {
        (Number::Float(left), Number::Float(right)) => {
            left.to_bits() == right.to_bits() || (left.is_nan() && right.is_nan())
        }
        (left, right) => left == right,
    }
}

proptest! {
    #[test]
    fn a_written_line_reads_back_equal(name in "[^\n]{0,20}", value in numbers()) {
        let name = name.trim_matches(|c: char| c.is_ascii() && crate::names::name::is_space(c as u8));
        let line = format(name.as_bytes(), value);
        let back = parse_line(&line).unwrap();
        prop_assert_eq!(back.name, name.as_bytes());
        prop_assert!(is_same(back.value, value), "{:?} {:?}", back.value, value);
    }

    #[test]
    fn offsets_lie_inside_the_line(line in prop::collection::vec(any::<u8>(), 0..50)) {
        if let Err(LineError::NotANumber { at } | LineError::Newline { at }) = parse_line(&line) {
            prop_assert!(at <= line.len());
        }
    }

    #[test]
    fn lines_do_not_depend_on_the_chunks(
        text in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..6000),
        cuts in prop::collection::vec(1usize..3000, 1..20),
    ) {
        let mut chunks = Vec::new();
        let (mut rest, mut cuts) = (&text[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (chunk, later) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            chunks.push(chunk);
            rest = later;
        }
        prop_assert_eq!(split(chunks), split([&text[..]]));
    }
}
