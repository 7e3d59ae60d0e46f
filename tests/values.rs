//! Round trips of every kind of value through a pipe and through JSON.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

use std::fs;

use statvent::line::{LineSplitter, Number, parse_line};
use statvent::{Recorder, Registry, Value};

const VALUES: &[Value] = &[
    Value::Int(0),
    Value::Int(-1),
    Value::Int(i64::MAX),
    Value::Int(i64::MIN),
    Value::Float(0.0),
    Value::Float(-0.0),
    Value::Float(0.1),
    Value::Float(42.0),
    Value::Float(1e16),
    Value::Float(1e300),
    Value::Float(5e-324),
    Value::Float(f64::MAX),
    Value::Float(f64::INFINITY),
    Value::Float(f64::NEG_INFINITY),
    Value::Float(f64::NAN),
];

fn filled() -> &'static Registry<16, 0, 256> {
    let stats: &Registry<16, 0, 256> = Box::leak(Box::default());
    for (idx, value) in VALUES.iter().enumerate() {
        stats.set(format!("value: {idx} \u{e9}"), *value);
    }
    stats
}

fn same(left: Value, right: Value) -> bool {
    match (left, right) {
        (Value::Float(left), Value::Float(right)) => {
            left.to_bits() == right.to_bits() || (left.is_nan() && right.is_nan())
        }
        (left, right) => left == right,
    }
}

#[test]
fn every_kind_of_value_survives_the_pipe() {
    let temp = tempfile::tempdir().unwrap();
    let recorder = Recorder::builder(filled()).directory(temp.path()).start().unwrap();
    for _ in 0..2 {
        let text = fs::read(recorder.path()).unwrap();
        let (mut splitter, mut back) = (LineSplitter::new(), Vec::new());
        splitter.feed(&text, |line| {
            let line = parse_line(line.unwrap()).unwrap();
            let value = match line.value {
                Number::Int(int) => Value::Int(int),
                Number::Float(float) => Value::Float(float),
                other => panic!("{other:?}"),
            };
            back.push((line.name.to_vec(), value));
        });
        splitter.finish().unwrap();
        assert_eq!(back.len(), VALUES.len());
        for (idx, (name, value)) in back.iter().enumerate() {
            assert_eq!(name, format!("value: {idx} \u{e9}").as_bytes());
            assert!(same(*value, VALUES[idx]), "{value:?} {:?}", VALUES[idx]);
        }
    }
}

#[test]
fn every_kind_of_value_survives_json() {
    let mut out = [0; 2048];
    let n_bytes = filled().reader().write_json(&mut out).unwrap();
    let back: serde_json::Value = serde_json::from_slice(&out[..n_bytes]).unwrap();
    assert_eq!(back.as_object().unwrap().len(), VALUES.len());
    for (idx, value) in VALUES.iter().enumerate() {
        let back = &back[format!("value: {idx} \u{e9}")];
        let survived = match *value {
            Value::Int(int) => back.as_i64() == Some(int),
            Value::Float(float) if float.is_finite() => {
                back.is_f64() && back.as_f64().map(f64::to_bits) == Some(float.to_bits())
            }
            Value::Float(_) => back.is_null(),
        };
        assert!(survived, "{value:?} became {back}");
    }
}
