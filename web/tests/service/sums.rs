//! Exact sums over recorders and legacy writers, with concurrent clients and services.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{ScopedJoinHandle, scope};
use std::time::Instant;

use statvent_core::Registry;
use statvent_posix::Recorder;
use statvent_web::collect::Collector;

use tokio::runtime::{Builder, Runtime};

use crate::support::{DEADLINE, LegacyWriter, Server, eventually, pipe_dir, unlocked_name};

type Stats = Registry<64, 8, 4096>;

const LEGACY_LINES: &str =
    "hits: 1\nbig: 18446744073709551617\nratio: 0.25\nnot a line\nname: with: colons: 2\n";

#[test]
fn three_legacy_writers_and_two_recorders_give_exact_sums_1000_times() {
    static ONE: Stats = Registry::new();
    static TWO: Stats = Registry::new();
    let dir = pipe_dir();
    let _legacy = [1, 2, 3].map(|n| LegacyWriter::start(dir.path(), &unlocked_name(n), LEGACY_LINES));
    ONE.incr("hits", 10);
    ONE.set("only here", i64::MIN);
    TWO.incr("hits", 100);
    TWO.set("ratio", 2.0);
    let _recorders =
        [&ONE, &TWO].map(|stats| Recorder::builder(stats).directory(dir.path()).start().unwrap());
    let server = Server::start(dir.path());
    let expected = concat!(
        r#"{"big":55340232221128654851,"hits":113,"name: with: colons":6,"#,
        r#""only here":-9223372036854775808,"ratio":2.75}"#
    );
    for request in 1..=1000 {
        let reply = server.stats();
        assert_eq!((reply.stats_text(), reply.counts()), (expected, [5, 0, 0, 0, 0]), "request {request}");
    }
}

#[test]
fn two_services_with_two_clients_each_give_exact_sums() {
    static STATS: Stats = Registry::new();
    let dir = pipe_dir();
    STATS.incr("hits", 10);
    let _legacy = [1, 2].map(|n| LegacyWriter::start(dir.path(), &unlocked_name(n), "hits: 1\n"));
    let _recorder = Recorder::builder(&STATS).directory(dir.path()).start().unwrap();
    let servers = [Server::start(dir.path()), Server::start(dir.path())];
    scope(|scope| {
        for server in servers.iter().chain(&servers) {
            scope.spawn(|| {
                let client = server.client();
                for request in 1..=100 {
                    let reply = client.get("/stats");
                    assert_eq!(reply.stats_text(), r#"{"hits":12}"#, "request {request}: {}", reply.text);
                }
            });
        }
    });
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Returns the number of processes that the first scrape of a new service finds, 40 times.
fn n_found_40_times(dir: &Path) -> Vec<usize> {
    let runtime = runtime();
    let mut found = Vec::new();
    eventually("40 conclusive first scrapes", || {
        let begun_at = Instant::now();
        let mut collector = Collector::new(dir.to_owned(), DEADLINE);
        let n_found = runtime.block_on(collector.collect()).unwrap().counts.ok;
        found.extend((!LegacyWriter::any_was_unlinked_for_long(begun_at)).then_some(n_found));
        found.len() == 40
    });
    found
}

/// The pipe of a legacy writer is unlinked for a moment after each reader, and the writer holds no lock byte: one listing of
/// the directory misses 4 to 14 in a hundred.
#[test]
fn a_new_service_finds_legacy_writers_that_another_service_reads() {
    let dir = pipe_dir();
    let legacy = [1, 2].map(|n| LegacyWriter::start(dir.path(), &unlocked_name(n), "hits: 1\n"));
    let stop = AtomicBool::new(false);
    let n_found = scope(|scope| {
        scope.spawn(|| {
            let mut other = Collector::new(dir.path().to_owned(), DEADLINE);
            let runtime = runtime();
            while !stop.load(Ordering::SeqCst) {
                runtime.block_on(other.collect()).unwrap();
            }
        });
        eventually("the other service to read", || legacy.iter().all(|legacy| legacy.n_rounds() > 10));
        // A first scrape takes 63 ms, so three threads run them in parallel.
        let finding = [(); 3].map(|()| scope.spawn(|| n_found_40_times(dir.path())));
        let n_found = finding.map(ScopedJoinHandle::join);
        stop.store(true, Ordering::SeqCst);
        n_found
    });
    for n_found in n_found {
        assert_eq!(n_found.unwrap(), [2; 40]);
    }
}

#[test]
fn counters_grow_from_answer_to_answer() {
    static STATS: Stats = Registry::new();
    let dir = pipe_dir();
    let _recorder = Recorder::builder(&STATS).directory(dir.path()).start().unwrap();
    let server = Server::start(dir.path());
    for n in 1..=20 {
        STATS.incr("n", 1);
        assert_eq!(server.stats().stat("n"), n);
    }
}

#[test]
fn a_process_without_stats_is_ok() {
    static STATS: Stats = Registry::new();
    let dir = pipe_dir();
    let _recorder = Recorder::builder(&STATS).directory(dir.path()).start().unwrap();
    let _legacy = LegacyWriter::start(dir.path(), &unlocked_name(1), "");
    let server = Server::start(dir.path());
    for _ in 0..20 {
        let reply = server.stats();
        assert_eq!((reply.stats_text(), reply.counts()), ("{}", [2, 0, 0, 0, 0]));
    }
}

#[test]
fn snapshots_larger_than_a_pipe_are_complete() {
    static STATS: Registry<8192, 1, 262_144> = Registry::new();
    let dir = pipe_dir();
    let mut expected = 0;
    for n in 0..5000 {
        STATS.set(format!("a.rather.long.name.of.a.stat.{n}"), n);
        expected += n;
    }
    let lines: String = (0..5000).map(|n| format!("a.rather.long.name.of.a.stat.{n}: {n}\n")).collect();
    let _legacy = LegacyWriter::start(dir.path(), &unlocked_name(1), lines);
    let _recorder = Recorder::builder(&STATS).directory(dir.path()).start().unwrap();
    let server = Server::start(dir.path());
    for _ in 0..5 {
        let reply = server.stats();
        let stats = reply.json()["stats"].as_object().unwrap().clone();
        assert_eq!(reply.counts(), [2, 0, 0, 0, 0]);
        assert_eq!(stats.len(), 5000);
        assert_eq!(stats.values().map(|sum| sum.as_i64().unwrap()).sum::<i64>(), 2 * expected);
    }
}

#[test]
fn a_process_that_ends_properly_is_gone_from_the_next_answer() {
    static ONE: Stats = Registry::new();
    static TWO: Stats = Registry::new();
    let dir = pipe_dir();
    ONE.incr("hits", 1);
    TWO.incr("hits", 2);
    let [_one, two] =
        [&ONE, &TWO].map(|stats| Recorder::builder(stats).directory(dir.path()).start().unwrap());
    let legacy = LegacyWriter::start(dir.path(), &unlocked_name(1), "hits: 4\n");
    let server = Server::start(dir.path());
    assert_eq!(server.stats().stats_text(), r#"{"hits":7}"#);
    drop(two);
    assert_eq!(server.stats().stats_text(), r#"{"hits":5}"#);
    drop(legacy);
    let reply = server.stats();
    assert_eq!((reply.stats_text(), reply.counts()), (r#"{"hits":1}"#, [1, 0, 0, 0, 0]));
}

#[test]
fn a_directory_that_appears_later_and_disappears_is_followed() {
    static STATS: Stats = Registry::new();
    let parent = pipe_dir();
    let dir = parent.path().join("pipes");
    let server = Server::start(&dir);
    let reply = server.stats();
    assert_eq!((reply.status, reply.stats_text(), reply.counts()), (200, "{}", [0; 5]));
    STATS.incr("hits", 1);
    let recorder = Recorder::builder(&STATS).directory(&dir).start().unwrap();
    assert_eq!(server.stats().stats_text(), r#"{"hits":1}"#);
    drop(recorder);
    eventually("the directory to be empty", || std::fs::remove_dir(&dir).is_ok());
    assert_eq!(server.stats().counts(), [0; 5]);
}
