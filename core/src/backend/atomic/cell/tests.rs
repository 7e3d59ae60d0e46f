//! Tests of one stat: results of `incr` and `set`, with integers and floats.
//!
//! Owns single-threaded cases. `models` tests concurrent ones.

use super::*;
use crate::backend::StatStore;

struct OneStat(StatStore<1, 0>);

impl OneStat {
    fn new() -> Self {
        Self(StatStore::new())
    }

    fn add(&self, value: Value) {
        self.0.write(0, WriteOp::Add, value);
    }

    fn set(&self, value: Value) {
        self.0.write(0, WriteOp::Set, value);
    }

    fn get(&self) -> Value {
        self.0.view().get(0).unwrap_or_else(|| panic!("there is one stat"))
    }
}

#[test]
fn integers_add_up_and_wrap() {
    let stat = OneStat::new();
    stat.add(Value::Int(i64::MAX));
    stat.add(Value::Int(2));
    assert_eq!(stat.get(), Value::Int(i64::MIN + 1));
}

#[test]
fn a_float_turns_the_stat_into_a_float_for_good() {
    let stat = OneStat::new();
    stat.add(Value::Int(2));
    stat.add(Value::Float(0.5));
    assert_eq!(stat.get(), Value::Float(2.5));
    stat.add(Value::Int(1));
    assert_eq!(stat.get(), Value::Float(3.5));
    stat.set(Value::Int(7));
    assert_eq!(stat.get(), Value::Float(7.0));
    stat.add(Value::Int(1));
    assert_eq!(stat.get(), Value::Float(8.0));
}

#[test]
fn a_set_value_is_read_back_exactly() {
    let stat = OneStat::new();
    stat.add(Value::Int(i64::MAX));
    for value in [Value::Int(-4), Value::Float(0.1), Value::Float(-0.0), Value::Float(f64::INFINITY)] {
        stat.set(value);
        assert_eq!(stat.get(), value);
    }
    stat.set(Value::Float(f64::NAN));
    assert!(stat.get().as_f64().is_nan());
}

#[test]
fn an_integer_setting_replaces_earlier_increments() {
    let stat = OneStat::new();
    stat.add(Value::Int(i64::MIN));
    stat.set(Value::Int(i64::MAX));
    assert_eq!(stat.get(), Value::Int(i64::MAX));
    stat.add(Value::Int(-7));
    assert_eq!(stat.get(), Value::Int(i64::MAX - 7));
    stat.add(Value::Float(0.0));
    assert_eq!(stat.get(), Value::Float((i64::MAX - 7) as f64));
}

#[test]
fn a_float_setting_replaces_earlier_increments() {
    let stat = OneStat::new();
    stat.set(Value::Float(0.1));
    stat.add(Value::Int(i64::MAX));
    stat.set(Value::Float(0.3));
    assert_eq!(stat.get(), Value::Float(0.3));
}
