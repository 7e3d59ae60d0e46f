//! How long a collection takes of 100 pipes that say 200 lines each, alone and beside 100 pipes of dead processes.
//!
//! Run with `cargo bench -p statvent-web`. Half of the stats are floats; each answer is checked. The writers are
//! recorders of this process, so that the figures hold their share as well.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark has no users, and panics as a test may")]

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use statvent_core::Registry;
use statvent_posix::Recorder;
use statvent_web::aggregate::{Sum, aggregate};
use statvent_web::collect::{Collector, Counts};

const N_PIPES: usize = 100;
const N_LINES: usize = 200;
/// The largest pid there can be, which no process has.
const FREE_PID: u32 = 2_147_483_647;

static STATS: [Registry<256, 1, 8192>; N_PIPES] = [const { Registry::new() }; N_PIPES];

fn collect(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let _recorders: Vec<_> = STATS.iter().map(|stats| publish(stats, dir.path())).collect();
    let mut collector = new_collector(dir.path());
    criterion.bench_function("collect/100_pipes_of_200_lines", |bencher| {
        bencher.iter(|| collect_and_check(&mut collector, 0));
    });
    for n in 1..=N_PIPES {
        mkfifo(&dir.path().join(format!("{FREE_PID}-{n}.stats")), Mode::S_IRUSR).unwrap();
    }
    criterion.bench_function("collect/first_beside_100_dead_pipes", |bencher| {
        // A new collector each time: it must find out about the dead, and never removes them.
        bencher.iter(|| collect_and_check(&mut new_collector(dir.path()), N_PIPES));
    });
}

fn new_collector(dir: &Path) -> Collector {
    Collector::new(dir.to_owned(), Duration::from_secs(5))
}

fn publish(stats: &'static Registry<256, 1, 8192>, dir: &Path) -> Recorder {
    for n in 0..N_LINES / 2 {
        stats.set(format!("service.requests.{n:03}"), 3);
        stats.set(format!("service.seconds.{n:03}"), 0.25);
    }
    Recorder::builder(stats).directory(dir).without_upkeep().start().unwrap()
}

fn collect_and_check(collector: &mut Collector, n_dead: usize) {
    let collection = collector.collect().unwrap();
    assert_eq!(collection.counts, Counts { ok: N_PIPES, late: n_dead, ..Counts::default() });
    let sums = aggregate(collection.readings);
    assert_eq!(sums.len(), N_LINES);
    assert_eq!(sums[0].1, Sum::Int(3 * N_PIPES as i128));
    assert_eq!(sums[N_LINES - 1].1, Sum::Float(0.25 * N_PIPES as f64));
    black_box(sums);
}

criterion_group!(benches, collect);
criterion_main!(benches);
