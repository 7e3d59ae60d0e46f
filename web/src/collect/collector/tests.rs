//! Tests of the collector: admission of pipes, and limits.

use super::*;
use crate::limits::MAX_PIPES;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use statvent_core::Registry;
use statvent_posix::Recorder;
use std::fs::{File, OpenOptions, remove_file};
use std::io::Write as _;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn counts(runtime: &Runtime, collector: &mut Collector) -> Counts {
    runtime.block_on(collector.collect()).unwrap().counts
}

fn make_fifo(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    path
}

#[test]
fn pipes_above_the_limit_are_counted_and_not_remembered() {
    let runtime = runtime();
    let temp = tempfile::tempdir().unwrap();
    for n in 0..MAX_PIPES {
        make_fifo(temp.path(), &format!("m{n}.stats"));
    }
    let mut collector = Collector::new(temp.path().to_owned(), Duration::from_millis(1));
    let late = Counts { late: MAX_PIPES, ..Counts::default() };
    assert_eq!(counts(&runtime, &mut collector), late);
    for name in ["a.stats", "b.stats", "z.stats"] {
        make_fifo(temp.path(), name);
    }
    assert_eq!(counts(&runtime, &mut collector), Counts { unreadable: 3, ..late });
    assert_eq!(collector.processes.len(), MAX_PIPES);
}

/// A collector that waits for no process.
fn impatient(dir: &Path) -> Collector {
    Collector::new(dir.to_owned(), Duration::from_millis(1))
}

/// Locks bytes of the directory, as live recorders do.
fn lock_bytes(dir: &Path, pid: u32, n_bytes: i64) -> File {
    let description = File::open(dir).unwrap();
    let bytes = nix::libc::flock {
        l_type: nix::libc::F_RDLCK as nix::libc::c_short,
        l_whence: nix::libc::SEEK_SET as nix::libc::c_short,
        l_start: i64::from(pid) << 16,
        l_len: n_bytes,
        l_pid: 0,
    };
    fcntl(&description, FcntlArg::F_OFD_SETLK(&bytes)).unwrap();
    description
}

const OTHER_PID: u32 = 7_000_000;

/// Creates pipes without a writer whose lock bytes are held.
fn make_locked_pipes(dir: &Path, n_pipes: usize) -> (File, Vec<PathBuf>) {
    let lock = lock_bytes(dir, OTHER_PID, 1 << 16);
    (lock, (1..=n_pipes).map(|n| make_fifo(dir, &format!("{OTHER_PID}-{n}.stats"))).collect())
}

// 1. A process locks all bytes of a pid, and creates as many pipes of that pid as the limit allows.
// 2. It removes them and keeps the bytes locked.
// 3. A recorder starts.
#[test]
fn removed_pipes_are_not_remembered_though_their_bytes_are_locked() {
    static STATS: Registry<2, 1, 0> = Registry::new();
    let runtime = runtime();
    let temp = tempfile::tempdir().unwrap();
    let mut collector = impatient(temp.path());
    let (_lock, pipes) = make_locked_pipes(temp.path(), MAX_PIPES);
    assert_eq!(counts(&runtime, &mut collector), Counts { late: MAX_PIPES, ..Counts::default() });
    pipes.iter().for_each(|path| remove_file(path).unwrap());
    assert_eq!(counts(&runtime, &mut collector), Counts::default());
    assert!(collector.processes.values().all(|process| !process.is_missing()));
    let _ours = Recorder::builder(&STATS).directory(temp.path()).start().unwrap();
    assert_eq!(counts(&runtime, &mut collector).unreadable, 0);
    assert_eq!(collector.processes.len(), 1);
}

/// Lets the collector read what silent processes have written.
fn idle(runtime: &Runtime, collector: &mut Collector) {
    // No event tells that everything was read; the runtime polls its events at least once in this time.
    let _ = runtime.block_on(async { timeout(Duration::from_millis(100), collector.idle()).await });
}

#[test]
fn a_late_process_writes_no_more_than_its_share_between_scrapes() {
    let runtime = runtime();
    let temp = tempfile::tempdir().unwrap();
    let path = make_fifo(temp.path(), "late.stats");
    let mut collector = impatient(temp.path());
    collector.quota = Quota::new(1000);
    assert_eq!(counts(&runtime, &mut collector).late, 1);
    let mut writer = OpenOptions::new().write(true).open(path).unwrap();
    writer.write_all(&b"some.stat: 1\n".repeat(100)).unwrap();
    drop(writer);
    idle(&runtime, &mut collector);
    let process = collector.processes.values().next().unwrap();
    let last = process.last_snapshot.as_ref().unwrap();
    assert!(last.n_bytes() <= 1000);
    assert_eq!(last.n_stats() + last.n_left_out(), 100);
}
