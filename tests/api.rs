//! The facade as a program uses it: macros, plain calls and handles on the global registry and on one's own.

use std::thread;

use statvent::{Registry, Value, incr, record, set};

/// A module of its own, so that a registry is named by a path.
mod own {
    pub(crate) static STATS: statvent::Registry<16, 2, 64> = statvent::Registry::new();
}

#[test]
fn macros_calls_and_handles_meet_in_one_stat() {
    for _ in 0..3 {
        incr!("api.meet");
    }
    incr!("api.meet", 10u8);
    statvent::incr("api.meet", 100);
    statvent::counter("api.meet").incr(1000);
    assert_eq!(statvent::get("api.meet"), Some(Value::Int(1113)));
}

#[test]
fn two_call_sites_of_one_name_are_one_stat() {
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
fn a_macro_does_not_hide_the_callers_names() {
    const NAME: i64 = 20;
    static SITE: i64 = 3;
    let value = 100;
    let registry = 1000;
    incr!("api.hygiene", NAME + SITE + value + registry);
    assert_eq!(statvent::get("api.hygiene"), Some(Value::Int(1123)));
}

#[test]
fn the_value_is_computed_once() {
    let mut n_calls = 0;
    let mut next = || {
        n_calls += 1;
        n_calls
    };
    incr!("api.once", next());
    assert_eq!((statvent::get("api.once"), n_calls), (Some(Value::Int(1)), 1));
}

#[test]
fn a_site_whose_stat_finds_no_room_counts_every_call() {
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
fn what_is_shared_between_threads_may_be() {
    fn shared<T: Send + Sync>() {}
    shared::<Registry<2, 1, 0>>();
    shared::<statvent::Counter<'static>>();
    shared::<statvent::Gauge<'static>>();
    shared::<statvent::Series<'static>>();
    shared::<statvent::Reader<'static>>();
    shared::<statvent::Snapshot<'static>>();
    shared::<statvent::Recorder>();
}
