//! A reader that works like the original Python library gets exact sums and removes no live pipe.
//!
//! It lists the directory, opens each entry, reads to end of file with a timeout, and unlinks the entry if the timeout fires.
//! The original's timeout is 0.1 s; a busy machine may need longer, so this one is longer.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, read_dir, remove_file};
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, poll};
use statvent_core::Registry;
use statvent_posix::Recorder;

use crate::support::{DEADLINE, eventually, pipe_dir};

const READ_TIMEOUT: Duration = DEADLINE;

#[test]
fn sums_are_exact_300_times_and_no_pipe_is_lost() {
    static STATS: [Registry<64, 8, 4096>; 5] = [const { Registry::new() }; 5];
    let dir = pipe_dir();
    let recorders: Vec<_> = (1..)
        .zip(&STATS)
        .map(|(n, stats)| {
            stats.incr("hits", n);
            stats.set("queue: depth", 2 * n);
            Recorder::builder(stats).directory(dir.path()).start().unwrap()
        })
        .collect();
    let expected = BTreeMap::from([("hits".to_owned(), 15), ("queue: depth".to_owned(), 30)]);
    for round in 1..=300 {
        assert_eq!(sum(dir.path()), expected, "round {round}");
    }
    for recorder in &recorders {
        assert!(recorder.path().exists(), "{} is lost", recorder.path().display());
    }
    eventually("only the pipes to be left", || names(dir.path()).len() == 5);
}

fn names(dir: &Path) -> Vec<PathBuf> {
    read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn sum(dir: &Path) -> BTreeMap<String, i64> {
    let mut sums = BTreeMap::new();
    for path in names(dir) {
        let Some(text) = read_with_timeout(&path) else {
            let _ = remove_file(&path);
            continue;
        };
        for line in text.lines() {
            let (name, value) = line.rsplit_once(':').unwrap();
            *sums.entry(name.trim().to_owned()).or_default() += value.trim().parse::<i64>().unwrap();
        }
    }
    sums
}

/// Waits for a writer and reads to end of file; `None` after [`READ_TIMEOUT`].
fn read_with_timeout(path: &Path) -> Option<String> {
    let until = Instant::now() + READ_TIMEOUT;
    let mut pipe: File =
        OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path).ok()?;
    let mut text = Vec::new();
    loop {
        let left = until.checked_duration_since(Instant::now())?;
        let mut polled = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        poll(&mut polled, u16::try_from(left.as_millis()).unwrap()).unwrap();
        // No event: no writer has opened the pipe yet. End of file comes when the last writer closes it.
        if polled[0].revents() == Some(PollFlags::empty()) {
            continue;
        }
        match pipe.read_to_end(&mut text) {
            Ok(_) => return String::from_utf8(text).ok(),
            Err(err) => assert_eq!(err.kind(), std::io::ErrorKind::WouldBlock),
        }
    }
}
