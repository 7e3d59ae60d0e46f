//! A reader in the original's manner finds our processes, and does them no harm.
//!
//! It lists the directory, opens each entry and reads to the end with an alarm, and unlinks the entry where the alarm goes
//! off. The original's goes off after 0.1 s, which a busy machine may need for an answer.

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

const ALARM: Duration = DEADLINE;

#[test]
fn sums_are_right_300_of_300_times_and_no_pipe_is_lost() {
    static STATS: [Registry<64, 8, 4096>; 5] = [const { Registry::new() }; 5];
    let dir = pipe_dir();
    let ours: Vec<_> = (1..)
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
    for recorder in &ours {
        assert!(recorder.path().exists(), "{} is lost", recorder.path().display());
    }
    eventually("the pipes alone", || names(dir.path()).len() == 5);
}

fn names(dir: &Path) -> Vec<PathBuf> {
    read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn sum(dir: &Path) -> BTreeMap<String, i64> {
    let mut sums = BTreeMap::new();
    for path in names(dir) {
        let Some(text) = read_with_alarm(&path) else {
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

/// Reads to the end, from the moment a writer comes; `None` when the alarm goes off.
fn read_with_alarm(path: &Path) -> Option<String> {
    let until = Instant::now() + ALARM;
    let mut pipe: File =
        OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path).ok()?;
    let mut text = Vec::new();
    loop {
        let left = until.checked_duration_since(Instant::now())?;
        let mut polled = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        poll(&mut polled, u16::try_from(left.as_millis()).unwrap()).unwrap();
        // Nothing at all: nobody came yet. Then end of file, as the last writer left.
        if polled[0].revents() == Some(PollFlags::empty()) {
            continue;
        }
        match pipe.read_to_end(&mut text) {
            Ok(_) => return String::from_utf8(text).ok(),
            Err(err) => assert_eq!(err.kind(), std::io::ErrorKind::WouldBlock),
        }
    }
}
