//! The public API as a program uses it: macros, functions and handles, on both kinds of registry.

use std::thread;

use statvent::{Registry, Value, incr, record, set};

/// A module, so that the tests name its registry by a path.
mod own {
    pub(crate) static STATS: statvent::Registry<16, 2, 64> = statvent::Registry::new();
}

#[test]
fn macros_functions_and_handles_write_to_the_same_stat() {
    for _ in 0..3 {
        incr!("api.same");
    }
    incr!("api.same", 10u8);
    statvent::incr("api.same", 100);
    statvent::counter("api.same").incr(1000);
    assert_eq!(statvent::get("api.same"), Some(Value::Int(1113)));
}

#[test]
fn two_call_sites_with_one_name_write_to_the_same_stat() {
    set!("api.sites", 1.5);
    set!("api.sites", 2.5,);
    assert_eq!(statvent::get("api.sites"), Some(Value::Float(2.5)));
}

#[test]
fn a_registry_is_named_by_its_path() {
    incr!(own::STATS, "hits");
    incr!(own::STATS, "hits", 4);
    set!(own::STATS, "level", 7);
    record!(own::STATS, "time.{0}", 3);
    assert_eq!(own::STATS.get("hits"), Some(Value::Int(5)));
    assert_eq!(own::STATS.get("level"), Some(Value::Int(7)));
    assert_eq!(statvent::get("hits"), None);
    let mut n_lines = 0;
    own::STATS.for_each(|_, _| n_lines += 1);
    assert_eq!(n_lines, 7);
}

#[test]
fn a_macro_does_not_shadow_names_of_the_caller() {
    const NAME: i64 = 20;
    static SITE: i64 = 3;
    let value = 100;
    let registry = 1000;
    incr!("api.hygiene", NAME + SITE + value + registry);
    assert_eq!(statvent::get("api.hygiene"), Some(Value::Int(1123)));
}

#[test]
fn the_value_expression_is_evaluated_once() {
    let mut n_calls = 0;
    let mut next = || {
        n_calls += 1;
        n_calls
    };
    incr!("api.once", next());
    assert_eq!((statvent::get("api.once"), n_calls), (Some(Value::Int(1)), 1));
}

#[test]
fn a_call_site_without_room_for_its_stat_counts_every_call_as_rejected() {
    static FULL: Registry<2, 0, 0> = Registry::new();
    incr!(FULL, "a");
    incr!(FULL, "b");
    for _ in 0..3 {
        incr!(FULL, "c");
    }
    incr!(FULL, "a", u64::MAX);
    assert_eq!(FULL.rejected(), 4);
    assert_eq!(FULL.get("a"), Some(Value::Int(1)));
}

#[test]
fn totals_of_25_threads_are_exact() {
    const N_THREADS: i64 = 25;
    const N_ROUNDS: i64 = 4000;
    thread::scope(|scope| {
        for _ in 0..N_THREADS {
            scope.spawn(|| {
                for round in 0..N_ROUNDS {
                    incr!("api.total");
                    statvent::incr("api.total", 1);
                    statvent::incr(format!("api.total.{}", round % 8), 1);
                    record!("api.sample.{0}", round);
                }
            });
        }
    });
    assert_eq!(statvent::get("api.total"), Some(Value::Int(2 * N_THREADS * N_ROUNDS)));
    for stat in 0..8 {
        let total = statvent::get(format!("api.total.{stat}"));
        assert_eq!(total, Some(Value::Int(N_THREADS * N_ROUNDS / 8)));
    }
}

#[test]
fn public_types_are_send_and_sync() {
    fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<Registry<2, 1, 0>>();
    is_send_and_sync::<statvent::Counter<'static>>();
    is_send_and_sync::<statvent::Gauge<'static>>();
    is_send_and_sync::<statvent::Series<'static>>();
    is_send_and_sync::<statvent::Reader<'static>>();
    is_send_and_sync::<statvent::Snapshot<'static>>();
    is_send_and_sync::<statvent::Recorder>();
}
