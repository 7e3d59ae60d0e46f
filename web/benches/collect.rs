//! Time of a scrape of 100 and of 1000 pipes of 200 lines each, and of 100 beside 100 dead pipes.
//!
//! Run with `cargo bench -p statvent-web`. Half of the stats are floats; each answer is checked. The writers are recorders of
//! this process or of its children, so the times include their work.
//!
//! Recorders make a new pipe for each reader, so a file system that is slow to create files shows in the times: ext4 without
//! a journal takes ten times as long after many files were removed. `TMPDIR=/dev/shm` avoids that.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark has no users, and panics as a test may")]

use std::env::{current_exe, var_os};
use std::hint::black_box;
use std::io::{BufRead as _, BufReader, stdin};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use criterion::{Criterion, criterion_group};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use statvent_core::Registry;
use statvent_posix::Recorder;
use statvent_web::aggregate::{Sum, aggregate};
use statvent_web::collect::{Collector, Counts};
use tokio::runtime::{Builder, Runtime};

const N_PIPES: usize = 100;
const N_LINES: usize = 200;
/// The largest possible pid, which no process has.
const FREE_PID: u32 = 2_147_483_647;

const N_CHILDREN: usize = 10;
/// In a child: the directory in which it publishes [`N_PIPES`] pipes.
const CHILD_VARIABLE: &str = "STATVENT_BENCH_CHILD";

static STATS: [Registry<256, 1, 8192>; N_PIPES] = [const { Registry::new() }; N_PIPES];

fn collect(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let _recorders: Vec<_> = STATS.iter().map(|stats| publish(stats, dir.path())).collect();
    let mut collector = new_collector(dir.path());
    criterion.bench_function("collect/100_pipes_of_200_lines", |bencher| {
        bencher.iter(|| collect_and_check(&runtime, &mut collector, N_PIPES, 0));
    });
    for n in 1..=N_PIPES {
        mkfifo(&dir.path().join(format!("{FREE_PID}-{n}.stats")), Mode::S_IRUSR).unwrap();
    }
    criterion.bench_function("collect/first_beside_100_dead_pipes", |bencher| {
        // A new collector each time: it meets the dead pipes for the first time, and does not remove them.
        bencher.iter(|| collect_and_check(&runtime, &mut new_collector(dir.path()), N_PIPES, N_PIPES));
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
    Recorder::builder(stats).directory(dir).without_health_check().start().unwrap()
}

fn collect_and_check(runtime: &Runtime, collector: &mut Collector, n_pipes: usize, n_dead: usize) {
    let collection = runtime.block_on(collector.collect()).unwrap();
    assert_eq!(collection.counts, Counts { ok: n_pipes, late: n_dead, ..Counts::default() });
    let sums = aggregate(collection.snapshots.into_iter().map(|(_, snapshot)| snapshot));
    assert_eq!(sums.len(), N_LINES);
    assert_eq!(sums[0].1, Sum::Int(3 * n_pipes as i128));
    assert_eq!(sums[N_LINES - 1].1, Sum::Float(0.25 * n_pipes as f64));
    black_box(sums);
}

fn collect_many(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    // Each recorder keeps descriptors open: a thousand recorders are too many for one process.
    let children: Vec<_> = (0..N_CHILDREN).map(|_| start_child(dir.path())).collect();
    let mut collector = new_collector(dir.path());
    let mut group = criterion.benchmark_group("collect");
    group.sample_size(10);
    group.bench_function("1000_pipes_of_200_lines", |bencher| {
        bencher.iter(|| collect_and_check(&runtime, &mut collector, N_CHILDREN * N_PIPES, 0));
    });
    for mut child in children {
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}

/// Starts a process that publishes until its standard input ends; waits for its first pipe.
fn start_child(dir: &Path) -> Child {
    let mut command = Command::new(current_exe().unwrap());
    command.env(CHILD_VARIABLE, dir).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    child
}

fn be_child(dir: &Path) {
    let _recorders: Vec<_> = STATS.iter().map(|stats| publish(stats, dir)).collect();
    println!("published");
    stdin().read_line(&mut String::new()).unwrap();
}

criterion_group!(benches, collect, collect_many);

fn main() {
    match var_os(CHILD_VARIABLE) {
        Some(dir) => be_child(dir.as_ref()),
        None => {
            benches();
            Criterion::default().configure_from_args().final_summary();
        }
    }
}
