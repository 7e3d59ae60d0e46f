//! Models of everything that threads share here, run by the model checker in every order the memory model allows.
//!
//! `bin/loom` runs them. A model is named after what must hold in it.

#![allow(unsafe_code, reason = "calls the appending half of the shared array")]

use loom::sync::Arc;
use loom::thread;

use crate::append::Append;
use crate::arena::{Arena, NewName};
use crate::cell::Cell;
use crate::directory::{Directory, Found, LinearIndex};
use crate::series::SampleRing;
use crate::sync::Lock;
use crate::value::Value;

/// Runs `model` with at most this many forced switches between threads, which finds nearly all faults and keeps
/// the larger models short.
fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

#[test]
fn increments_of_two_threads_are_both_counted() {
    check(|| {
        let cell = Arc::new(Cell::new());
        let other = thread::spawn({
            let cell = Arc::clone(&cell);
            move || {
                cell.add(Value::Int(1));
                cell.add(Value::Float(0.5));
            }
        });
        cell.add(Value::Float(0.25));
        cell.add(Value::Int(2));
        other.join().unwrap();
        assert_eq!(cell.get(), Value::Float(3.75));
    });
}

#[test]
fn a_reader_of_an_increment_only_stat_never_sees_it_go_back() {
    check(|| {
        let cell = Arc::new(Cell::new());
        cell.add(Value::Int(1));
        let writer = thread::spawn({
            let cell = Arc::clone(&cell);
            move || {
                cell.add(Value::Int(1));
                cell.add(Value::Float(0.5));
            }
        });
        let first = cell.get().as_f64();
        let second = cell.get().as_f64();
        assert!(1.0 <= first && first <= second && second <= 2.5);
        writer.join().unwrap();
    });
}

#[test]
fn a_reader_sees_the_value_before_or_after_a_setting_and_nothing_between() {
    check(|| {
        let cell = Arc::new(Cell::new());
        cell.add(Value::Int(10));
        let setter = thread::spawn({
            let cell = Arc::clone(&cell);
            move || cell.set(Value::Float(2.5))
        });
        assert!([Value::Int(10), Value::Float(2.5)].contains(&cell.get()));
        setter.join().unwrap();
        assert_eq!(cell.get(), Value::Float(2.5));
    });
}

#[test]
fn an_increment_beside_a_setting_is_replaced_or_added_whole() {
    check(|| {
        let cell = Arc::new(Cell::new());
        cell.add(Value::Int(10));
        let setter = thread::spawn({
            let cell = Arc::clone(&cell);
            move || cell.set(Value::Float(2.5))
        });
        cell.add(Value::Int(1));
        setter.join().unwrap();
        assert!([Value::Float(2.5), Value::Float(3.5)].contains(&cell.get()), "{:?}", cell.get());
    });
}

#[test]
fn a_reader_beside_an_integer_setting_and_an_increment_sees_no_other_value() {
    check(|| {
        let cell = Arc::new(Cell::new());
        cell.add(Value::Int(10));
        let setter = thread::spawn({
            let cell = Arc::clone(&cell);
            move || cell.set(Value::Int(5))
        });
        let adder = thread::spawn({
            let cell = Arc::clone(&cell);
            move || cell.add(Value::Int(1))
        });
        let seen = cell.get();
        assert!([10, 11, 5, 6].map(Value::Int).contains(&seen), "{seen:?}");
        setter.join().unwrap();
        adder.join().unwrap();
        assert!([5, 6].map(Value::Int).contains(&cell.get()), "{:?}", cell.get());
    });
}

#[test]
fn of_two_settings_of_different_kinds_one_wins() {
    check(|| {
        let cell = Arc::new(Cell::new());
        let setter = thread::spawn({
            let cell = Arc::clone(&cell);
            move || cell.set(Value::Float(2.5))
        });
        cell.set(Value::Int(7));
        setter.join().unwrap();
        assert!([Value::Float(2.5), Value::Float(7.0)].contains(&cell.get()), "{:?}", cell.get());
    });
}

#[test]
fn two_settings_that_both_have_to_clear_the_integer_leave_one_of_them() {
    check(|| {
        let cell = Arc::new(Cell::new());
        cell.add(Value::Int(10));
        let setter = thread::spawn({
            let cell = Arc::clone(&cell);
            move || cell.set(Value::Float(2.5))
        });
        cell.set(Value::Float(1.5));
        setter.join().unwrap();
        assert!([Value::Float(2.5), Value::Float(1.5)].contains(&cell.get()));
    });
}

#[test]
fn what_is_published_is_read_whole_while_more_is_appended() {
    check(|| {
        let array = Arc::new(Append::<u8, 4>::new());
        let writer = thread::spawn({
            let array = Arc::clone(&array);
            move || {
                // SAFETY: this is the only thread that appends.
                unsafe { array.push_all(b"ab") };
                // SAFETY: as above.
                unsafe { array.push_all(b"c") };
            }
        });
        let n_seen = array.view().len();
        for (idx, byte) in b"abc"[..n_seen].iter().enumerate() {
            assert_eq!(array.view().get(idx), Some(byte));
        }
        writer.join().unwrap();
        assert_eq!(array.view().len(), 3);
    });
}

#[test]
fn the_lock_lets_one_in_at_a_time() {
    check(|| {
        let lock = Arc::new(Lock::new(0));
        let other = thread::spawn({
            let lock = Arc::clone(&lock);
            move || lock.with(|n| *n += 1)
        });
        lock.with(|n| *n += 1);
        other.join().unwrap();
        assert_eq!(lock.with(|n| *n), 2);
    });
}

#[test]
fn a_name_that_two_threads_register_gets_one_slot() {
    check(|| {
        let shared = Arc::new((Directory::<LinearIndex<2>, (), 2>::new(), Arena::<4>::new()));
        let register = |shared: &(Directory<_, (), 2>, Arena<4>)| {
            shared.0.find_or_insert(NewName::Literal("a"), (), &shared.1, |_| ()).unwrap()
        };
        let other = thread::spawn({
            let shared = Arc::clone(&shared);
            move || register(&shared)
        });
        let mut found = [register(&shared), other.join().unwrap()];
        found.sort_by_key(|found| matches!(found, Found::New(_)));
        assert_eq!(found, [Found::Known(0), Found::New(0)]);
        assert_eq!(shared.0.view().len(), 1);
    });
}

#[test]
fn a_window_holds_only_samples_that_were_recorded() {
    check(|| {
        let ring = Arc::new(SampleRing::new());
        ring.record(1.0);
        let writer = thread::spawn({
            let ring = Arc::clone(&ring);
            move || ring.record(2.0)
        });
        let window = ring.window();
        assert_eq!(window.quantile(0.0), 1.0);
        assert!([1.0, 2.0].contains(&window.quantile(100.0)));
        writer.join().unwrap();
        assert_eq!(ring.window().mean(), 1.5);
    });
}
