//! Tests of the registry's public calls, their errors, handles and reading.
//!
//! Properties: sums are exact with any number of threads; a rejected call is counted once and changes nothing else;
//! stats keep the order of registration.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::thread;

use statvent_core::name::{NameBuf, NameError};
use statvent_core::{IntoValue, RecordError, Registry, Value, ValueError};

fn lines<const A: usize, const B: usize, const C: usize>(registry: &Registry<A, B, C>) -> Vec<String> {
    text(registry).lines().map(str::to_owned).collect()
}

fn text<const A: usize, const B: usize, const C: usize>(registry: &Registry<A, B, C>) -> String {
    let (mut snapshot, mut out, mut text) = (registry.snapshot(), [0; 300], Vec::new());
    loop {
        match snapshot.fill(&mut out).unwrap() {
            0 => return String::from_utf8(text).unwrap(),
            n_bytes => text.extend_from_slice(&out[..n_bytes]),
        }
    }
}

fn small() -> Box<Registry<8, 2, 128>> {
    Box::new(Registry::new())
}

#[test]
fn incr_starts_an_unknown_stat_at_the_given_value() {
    let stats = small();
    stats.incr("a", 5);
    stats.incr("a", -7);
    assert_eq!(stats.get("a"), Some(Value::Int(-2)));
    assert_eq!(stats.get("b"), None);
}

#[test]
fn set_is_read_back_exactly_and_a_float_stays_one() {
    let stats = small();
    stats.set("g", 3u8);
    assert_eq!(stats.get("g"), Some(Value::Int(3)));
    stats.set("g", 0.1);
    assert_eq!(stats.get("g"), Some(Value::Float(0.1)));
    stats.set("g", 4);
    assert_eq!(stats.get("g"), Some(Value::Float(4.0)));
    assert_eq!(lines(&stats), ["g: 4.0"]);
}

#[test]
fn the_order_is_stats_as_registered_then_series_then_rejected() {
    let stats = small();
    stats.record("lat.{0}", 2);
    stats.incr("z", 1);
    stats.incr("", 1);
    stats.set("a", 2);
    let expected = [
        "z: 1",
        "a: 2",
        "lat.median: 2.0",
        "lat.95th: 2.0",
        "lat.99th: 2.0",
        "lat.100th: 2.0",
        "lat.mean: 2.0",
        "statvent.rejected: 1",
    ];
    assert_eq!(lines(&stats), expected);
}

#[test]
fn a_hundred_samples_give_the_documented_quantiles() {
    let stats = small();
    for sample in 1..=100 {
        stats.record("s.{0}", sample);
    }
    assert_eq!(
        lines(&stats),
        ["s.median: 50.0", "s.95th: 95.0", "s.99th: 99.0", "s.100th: 100.0", "s.mean: 50.5"]
    );
}

#[test]
fn every_placeholder_of_a_series_is_replaced_and_quotes_are_kept() {
    let stats = small();
    stats.record("{0}: rpc{method=\"get\",q=\"{0}\"}", 1);
    assert_eq!(lines(&stats)[1], "95th: rpc{method=\"get\",q=\"95th\"}: 1.0");
}

#[test]
fn every_rejection_is_counted_once_and_returned_by_the_try_call_without_counting() {
    fn spaces(_: &[u8], _: &str, out: &mut NameBuf) {
        out.push(b" ");
    }
    let stats = small();
    stats.incr("", 1);
    stats.set("a\nb", 1);
    stats.set("big", u64::MAX);
    stats.record("no placeholder", 1);
    stats.record_with("spaces", 1, spaces);
    stats.incr("statvent.rejected", 1);
    assert_eq!(stats.rejected(), 6);
    assert_eq!(lines(&stats), ["statvent.rejected: 6"]);
    assert_eq!(stats.get("statvent.rejected"), Some(Value::Int(6)));

    assert_eq!(stats.try_incr("", 1), Err(NameError::Empty.into()));
    assert_eq!(stats.try_set("big", u64::MAX), Err(ValueError::AboveI64Max { found: u64::MAX }.into()));
    assert_eq!(stats.try_record("x", 1), Err(NameError::NoPlaceholder.into()));
    assert_eq!(stats.try_record_with("x", 1, spaces), Err(NameError::OuterSpace { at: 0 }.into()));
    assert_eq!(
        stats.try_record(format!("{}{{0}}", "n".repeat(250)), 1),
        Err(NameError::TooLong { found: 256 }.into())
    );
    assert_eq!(stats.try_record("statvent.{0}", 1), Err(NameError::Reserved.into()));
    assert_eq!(stats.rejected(), 6);
}

#[test]
fn a_format_that_writes_a_reserved_name_is_rejected() {
    fn reserved(_: &[u8], label: &str, out: &mut NameBuf) {
        out.push(b"statvent.");
        out.push(label.as_bytes());
    }
    assert_eq!(small().try_record_with("x", 1, reserved), Err(NameError::Reserved.into()));
}

#[test]
fn a_full_registry_names_its_limit_and_keeps_known_names() {
    let stats: Box<Registry<2, 1, 12>> = Box::default();
    stats.incr("a", 1);
    stats.incr("b", 1);
    assert_eq!(stats.try_incr("c", 1), Err(RecordError::StatsFull { capacity: 2 }));
    assert_eq!(stats.try_record_literal("{0}.literal", 1), Ok(()));
    assert_eq!(stats.try_record("{0}", 1), Err(RecordError::SeriesFull { capacity: 1 }));
    stats.incr("b", 1);
    assert_eq!(stats.get("b"), Some(Value::Int(2)));

    let stats: Box<Registry<4, 1, 4>> = Box::default();
    let err = stats.try_incr("hello", 1).unwrap_err();
    assert_eq!(err, RecordError::NameBytesFull { capacity: 4, needed: 5 });
    assert_eq!(
        err.to_string(),
        "no room for a name of 5 bytes in the 4 bytes for names: make the registry larger or use a literal name"
    );
    assert_eq!(stats.try_incr_literal("hello", 1), Ok(()));
    assert_eq!(stats.try_incr("hello", 1), Ok(()));
    assert_eq!(lines(&stats), ["hello: 2"]);
}

#[test]
fn messages_say_what_is_full() {
    let stats_full = RecordError::StatsFull { capacity: 2 }.to_string();
    assert_eq!(stats_full, "all 2 stats are taken: make the registry larger or use fewer names");
    let series_full = RecordError::SeriesFull { capacity: 1 }.to_string();
    assert_eq!(series_full, "all 1 series are taken: make the registry larger or use fewer names");
}

#[test]
fn every_kind_of_value_can_be_recorded() {
    fn shown(value: impl IntoValue) -> String {
        let stats = small();
        stats.set("v", value);
        text(&stats)
    }
    assert_eq!(shown(i8::MIN), "v: -128\n");
    assert_eq!(shown(u16::MAX), "v: 65535\n");
    assert_eq!(shown(usize::MAX >> 1), format!("v: {}\n", isize::MAX));
    assert_eq!(shown(i64::MIN), "v: -9223372036854775808\n");
    assert_eq!(shown(0.25f32), "v: 0.25\n");
    assert_eq!(shown(1e300), "v: 1e300\n");
    assert_eq!(shown(f64::NAN), "v: nan\n");
}

#[test]
fn a_name_may_contain_any_bytes() {
    let stats = small();
    stats.incr(b"\xff\0\"{}", 1);
    stats.incr(String::from("owned"), 1);
    assert_eq!(stats.get([0xff, 0, b'"', b'{', b'}']), Some(Value::Int(1)));
    assert_eq!(stats.get("owned"), Some(Value::Int(1)));
}

#[test]
fn handles_write_the_same_stats_and_a_rejected_one_counts_its_uses() {
    let stats = small();
    let (requests, depth, latency) =
        (stats.counter("requests"), stats.gauge("depth"), stats.series("lat.{0}"));
    assert_eq!(lines(&stats), ["requests: 0", "depth: 0"], "a handle publishes its stat");
    requests.incr(2);
    stats.incr("requests", 1);
    depth.set(4.5);
    latency.record(7);
    assert_eq!(&lines(&stats)[..3], ["requests: 3", "depth: 4.5", "lat.median: 7.0"]);

    let bad = stats.counter("");
    assert_eq!(stats.rejected(), 0);
    bad.incr(1);
    stats.counter("requests").incr(u64::MAX);
    assert_eq!(stats.rejected(), 2);
}

#[test]
fn a_series_keeps_its_first_format() {
    fn slash(name: &[u8], label: &str, out: &mut NameBuf) {
        out.push(name);
        out.push(b"/");
        out.push(label.as_bytes());
    }
    let stats = small();
    stats.record_with("rpc{0}", 1, slash);
    stats.record("rpc{0}", 3);
    assert_eq!(lines(&stats)[0], "rpc{0}/median: 1.0");
    assert_eq!(lines(&stats)[4], "rpc{0}/mean: 2.0");
}

#[test]
fn totals_of_25_threads_are_exact() {
    const N_THREADS: i64 = 25;
    const N_ROUNDS: i64 = 2000;
    static STATS: Registry<64, 2, 1024> = Registry::new();
    thread::scope(|scope| {
        for thread_idx in 0..N_THREADS {
            scope.spawn(move || {
                let shared = STATS.counter("shared");
                for round in 0..N_ROUNDS {
                    shared.incr(1);
                    STATS.incr("by name", 2);
                    STATS.incr(format!("stat {}", (thread_idx + round) % 20), 1);
                    STATS.incr("float", 0.5);
                    STATS.record("sample.{0}", 1);
                }
            });
        }
    });
    assert_eq!(STATS.get("shared"), Some(Value::Int(N_THREADS * N_ROUNDS)));
    assert_eq!(STATS.get("by name"), Some(Value::Int(2 * N_THREADS * N_ROUNDS)));
    assert_eq!(STATS.get("float"), Some(Value::Float((N_THREADS * N_ROUNDS) as f64 / 2.0)));
    for stat in 0..20 {
        assert_eq!(STATS.get(format!("stat {stat}")), Some(Value::Int(N_THREADS * N_ROUNDS / 20)));
    }
    assert_eq!(STATS.rejected(), 0);
}

#[test]
fn a_new_stat_is_never_seen_without_its_first_value() {
    static STATS: Registry<4096, 0, 65536> = Registry::new();
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for stat in 0..4096 {
                STATS.set(format!("gauge {stat}"), 7);
            }
        });
        loop {
            let ended = writer.is_finished();
            let mut n_seen = 0;
            STATS.for_each(|name, value| {
                assert_eq!(value, Value::Int(7), "{name:?}");
                n_seen += 1;
            });
            if ended {
                assert_eq!(n_seen, 4096);
                return;
            }
        }
    });
}

/// The README's numbers for 64 bits: a stat, a series, and both per shard. The backend for interrupts has no
/// shards.
const BYTES: (usize, usize, usize, usize) = if cfg!(all(feature = "critical-section", not(feature = "std"))) {
    (32, 832, 0, 0)
} else {
    (57, 848, 32, 1040)
};

#[cfg(target_pointer_width = "64")]
#[test]
fn a_registry_takes_the_documented_memory() {
    let stat = (size_of::<Registry<1024, 0, 0>>() - size_of::<Registry<512, 0, 0>>()) / 512;
    let series = (size_of::<Registry<2, 80, 0>>() - size_of::<Registry<2, 16, 0>>()) / 64;
    let stat_of_shard = (size_of::<Registry<1024, 0, 0, 1>>() - size_of::<Registry<1024, 0, 0>>()) / 1024;
    let series_of_shard =
        (size_of::<Registry<2, 256, 0, 1>>() - size_of::<Registry<2, 128, 0, 1>>()) / 128 - series;
    assert_eq!((stat, series, stat_of_shard, series_of_shard), BYTES);
}
