//! Tests of the collector: who has a place, and what is bounded.

use super::super::candidates::MAX_PIPES;
use super::*;
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
fn no_more_than_the_limit_are_known_and_the_others_are_counted() {
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

/// Nobody is waited for.
fn impatient(dir: &Path) -> Collector {
    Collector::new(dir.to_owned(), Duration::from_millis(1))
}

/// Bytes of the directory held by one description, as by recorders that live.
fn hold(dir: &Path, pid: u32, n_bytes: i64) -> File {
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

/// Pipes of a pid whose bytes are held, and which nobody writes.
fn make_pretenders(dir: &Path, n_pipes: usize) -> (File, Vec<PathBuf>) {
    let held = hold(dir, OTHER_PID, 1 << 16);
    (held, (1..=n_pipes).map(|n| make_fifo(dir, &format!("{OTHER_PID}-{n}.stats"))).collect())
}

// 1. Somebody holds all bytes of a pid, and makes as many pipes of that pid as are asked. 2. It removes them, and holds the
// bytes still. 3. A recorder starts.
#[test]
fn names_that_are_gone_are_not_remembered_though_their_bytes_are_held() {
    static STATS: Registry<2, 1, 0> = Registry::new();
    let runtime = runtime();
    let temp = tempfile::tempdir().unwrap();
    let mut collector = impatient(temp.path());
    let (_held, pipes) = make_pretenders(temp.path(), MAX_PIPES);
    assert_eq!(counts(&runtime, &mut collector), Counts { late: MAX_PIPES, ..Counts::default() });
    pipes.iter().for_each(|path| remove_file(path).unwrap());
    assert_eq!(counts(&runtime, &mut collector), Counts::default());
    assert!(collector.processes.values().all(|process| !process.is_missing()));
    let _ours = Recorder::builder(&STATS).directory(temp.path()).start().unwrap();
    assert_eq!(counts(&runtime, &mut collector).unreadable, 0);
    assert_eq!(collector.processes.len(), 1);
}

/// Waits until the collector listens, lets it, and returns once it has read what was written before.
fn idle(runtime: &Runtime, collector: &mut Collector) {
    // Nothing tells that all was read: one look of the runtime at its events is enough for that.
    let _ = runtime.block_on(async { timeout(Duration::from_millis(100), collector.idle()).await });
}

#[test]
fn what_a_late_process_says_between_collections_is_bounded_by_its_share() {
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
    let last = process.last.as_ref().unwrap();
    assert!(last.n_bytes() <= 1000);
    assert_eq!(last.n_stats() + last.n_omitted(), 100);
}
