//! Tests of the collector: who has a place, and what is bounded.

use super::*;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::eventfd::EventFd;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use statvent_core::Registry;
use statvent_posix::Recorder;
use std::fs::{File, OpenOptions, remove_file};
use std::io::Write as _;
use std::os::fd::AsFd as _;

fn make_fifo(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    path
}

#[test]
fn known_processes_keep_their_places_and_no_more_than_the_limit_are_known() {
    let temp = tempfile::tempdir().unwrap();
    for n in 0..MAX_PIPES {
        make_fifo(temp.path(), &format!("m{n}.stats"));
    }
    let mut collector = Collector::new(temp.path().to_owned(), Duration::from_millis(1));
    let late = Counts { late: MAX_PIPES, ..Counts::default() };
    assert_eq!(collector.collect().unwrap().counts, late);
    for name in ["a.stats", "b.stats", "z.stats"] {
        make_fifo(temp.path(), name);
    }
    assert_eq!(collector.collect().unwrap().counts, Counts { unreadable: 3, ..late });
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
    let temp = tempfile::tempdir().unwrap();
    let mut collector = impatient(temp.path());
    let (_held, pipes) = make_pretenders(temp.path(), MAX_PIPES);
    assert_eq!(collector.collect().unwrap().counts, Counts { late: MAX_PIPES, ..Counts::default() });
    pipes.iter().for_each(|path| remove_file(path).unwrap());
    assert_eq!(collector.collect().unwrap().counts, Counts::default());
    assert!(collector.processes.values().all(Process::is_gone));
    let _ours = Recorder::builder(&STATS).directory(temp.path()).start().unwrap();
    assert_eq!(collector.collect().unwrap().counts.unreadable, 0);
    assert_eq!(collector.processes.len(), 1);
}

// The same, and they are not removed: nobody was ever heard on them.
#[test]
fn pipes_that_nobody_writes_keep_no_recorder_out_though_their_bytes_are_held() {
    static STATS: Registry<2, 1, 0> = Registry::new();
    let temp = tempfile::tempdir().unwrap();
    let mut collector = impatient(temp.path());
    let (_held, _pipes) = make_pretenders(temp.path(), MAX_PIPES + 900);
    let counts = Counts { late: MAX_PIPES, unreadable: 900, ..Counts::default() };
    assert_eq!(collector.collect().unwrap().counts, counts);
    STATS.incr("hits", 1);
    let ours = Recorder::builder(&STATS).directory(temp.path()).start().unwrap();
    collector.deadline = Duration::from_secs(1);
    let name = ours.path().file_name().unwrap().to_owned();
    let is_heard =
        |collector: &Collector| collector.processes.get(&name).is_some_and(|ours| ours.last.is_some());
    // The lot may leave it out a few times. Once it was heard it stays.
    assert!((0..50).any(|_| collector.collect().is_ok() && is_heard(&collector)));
    assert!((0..3).all(|_| collector.collect().is_ok() && is_heard(&collector)));
}

#[test]
fn what_late_processes_say_between_collections_is_bounded() {
    let temp = tempfile::tempdir().unwrap();
    let path = make_fifo(temp.path(), "late.stats");
    let mut collector = Collector::new(temp.path().to_owned(), Duration::from_millis(1));
    assert_eq!(collector.collect().unwrap().counts.late, 1);
    collector.limits.n_bytes_at_rest = 6_000;
    let mut writer = OpenOptions::new().write(true).open(path).unwrap();
    let wake = EventFd::new().unwrap();
    for is_open in [true, false] {
        writer.write_all(&b"some.stat: 1\n".repeat(100)).unwrap();
        assert!(collector.rest_once(wake.as_fd()).unwrap());
        assert_eq!(collector.processes.values().any(|process| process.open.is_some()), is_open);
    }
}
