//! Tests of what is remembered of a process: what silence, death and other readers change, and what is removed.

use super::*;
use crate::descriptors::Descriptors;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use statvent_core::Registry;
use statvent_posix::Recorder;
use std::fs::{File, OpenOptions, remove_file, rename};
use std::io::Write as _;
use std::sync::LazyLock;
use tokio::runtime::{Builder, EnterGuard, Runtime};

/// A pipe in a directory, which nobody writes and whose pid no process has.
const NAME: &str = "2147483647.stats";

/// Pipes are opened in a runtime.
fn enter() -> EnterGuard<'static> {
    static RUNTIME: LazyLock<Runtime> =
        LazyLock::new(|| Builder::new_current_thread().enable_all().build().unwrap());
    RUNTIME.enter()
}

fn abandoned() -> (tempfile::TempDir, FilteredDir) {
    let temp = tempfile::tempdir().unwrap();
    mkfifo(&temp.path().join(NAME), Mode::S_IRUSR).unwrap();
    let source = FilteredDir::open(temp.path(), &[]).unwrap().unwrap();
    (temp, source)
}

fn open(source: &FilteredDir) -> Box<Pipe> {
    Pipe::open(source, NAME.as_ref(), Charge::default()).map_err(drop).expect("a pipe")
}

/// Runs `f` as within a collection whose deadline is a second.
fn within<T>(source: &FilteredDir, f: impl FnOnce(&Scrape<'_>) -> T) -> T {
    f(&Scrape::new(source, &Quota::new(1 << 20), Duration::from_secs(1), &mut [], Descriptors::available()))
}

/// How long its answer is waited for; `None` if it is dead.
fn timeout(process: &mut Process, source: &FilteredDir) -> Option<Duration> {
    within(source, |scrape| process.response_timeout(scrape, NAME.as_ref()))
}

fn conclude(
    process: &mut Process,
    source: &FilteredDir,
    result: Result<ProcessSnapshot, ProbeError>,
) -> Status {
    within(source, |scrape| process.conclude(scrape, NAME.as_ref(), result))
}

fn ask(process: &mut Process, source: &FilteredDir, now: Instant) -> Status {
    let mut pipe = open(source);
    pipe.read(&mut [0; PROBE_BYTES]).unwrap();
    process.open = Some(pipe);
    process.on_suspect(source, NAME.as_ref(), now)
}

#[test]
fn an_abandoned_pipe_is_removed_in_the_third_round_after_ten_seconds() {
    let _entered = enter();
    let (temp, source) = abandoned();
    let start = Instant::now();
    let mut process = Process { last: Some(ProcessSnapshot::default()), ..Process::default() };
    for (seconds, exists) in [(0, true), (1, true), (9, true), (10, false)] {
        let standing = ask(&mut process, &source, start + Duration::from_secs(seconds));
        assert_eq!(matches!(standing, Status::Stale), exists, "after {seconds} s");
        assert_eq!(temp.path().join(NAME).exists(), exists, "after {seconds} s");
    }
    assert!(process.is_gone && process.last.is_none());
}

#[test]
fn a_writer_clears_all_doubt() {
    let _entered = enter();
    let (temp, source) = abandoned();
    let start = Instant::now();
    let mut process = Process::default();
    for seconds in [0, 5] {
        ask(&mut process, &source, start + Duration::from_secs(seconds));
    }
    let path = temp.path().join(NAME);
    let writer = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    ask(&mut process, &source, start + Duration::from_secs(10));
    process.open = None;
    drop(writer);
    for seconds in [11, 19] {
        assert!(matches!(ask(&mut process, &source, start + Duration::from_secs(seconds)), Status::Late));
    }
    assert!(path.exists(), "removed on the strength of rounds before the writer came");
}

#[test]
fn a_writer_that_took_a_dead_pipe_s_name_is_not_buried() {
    let _entered = enter();
    let (temp, source) = abandoned();
    let path = temp.path().join(NAME);
    let _writer = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut process = Process { was_locked: true, ..Process::default() };
    assert!(timeout(&mut process, &source).is_some());
    assert!(process.open.is_some(), "it is asked on the pipe that was opened");
    assert!(path.exists());
}

#[test]
fn a_pipe_whose_byte_was_held_and_is_free_is_removed_at_once() {
    let _entered = enter();
    let (temp, source) = abandoned();
    let mut process =
        Process { was_locked: true, last: Some(ProcessSnapshot::default()), ..Process::default() };
    assert!(timeout(&mut process, &source).is_none());
    assert!(process.is_gone && process.last.is_none());
    assert!(!temp.path().join(NAME).exists());
}

// 1. We keep a pipe open. 2. Its recorder hands over, writes to it, and is killed. 3. What lies in that pipe says nothing
// against its death.
#[test]
fn last_words_do_not_unprove_a_death() {
    let _entered = enter();
    let (temp, source) = abandoned();
    let path = temp.path().join(NAME);
    let open = open(&source);
    let mut writer = OpenOptions::new().write(true).open(&path).unwrap();
    mkfifo(&temp.path().join("fresh"), Mode::S_IRUSR).unwrap();
    rename(temp.path().join("fresh"), &path).unwrap();
    writer.write_all(b"a: 1\n").unwrap();
    drop(writer);
    let mut process = Process {
        was_locked: true,
        last: Some(ProcessSnapshot::default()),
        open: Some(open),
        ..Process::default()
    };
    assert!(timeout(&mut process, &source).is_none());
    assert!(process.is_gone && !path.exists());
}

// 1. A process is proved dead. 2. Another reader has its pipe, which therefore cannot be removed yet.
#[test]
fn a_dead_process_does_not_count_where_another_reader_has_its_pipe() {
    let _entered = enter();
    let (temp, source) = abandoned();
    let reader = OpenOptions::new().read(true).write(true).open(temp.path().join(NAME)).unwrap();
    reader.try_lock().unwrap();
    let mut process =
        Process { was_locked: true, last: Some(ProcessSnapshot::default()), ..Process::default() };
    assert!(timeout(&mut process, &source).is_some());
    assert!(!matches!(conclude(&mut process, &source, Err(ProbeError::TimedOut)), Status::Stale));
    assert!(process.last.is_none());
}

// 1. A recorder ends; the collector sees that its byte is free. 2. Another one takes the name: the byte, then the
// pipe. 3. The collector opens that pipe, which nobody writes at this moment, and must not remove it.
#[test]
fn a_pipe_whose_byte_is_taken_by_the_time_it_is_open_is_not_buried() {
    static STATS: Registry<2, 1, 0> = Registry::new();
    let _entered = enter();
    let temp = tempfile::tempdir().unwrap();
    let recorder = Recorder::builder(&STATS).directory(temp.path()).without_upkeep().start().unwrap();
    let path = recorder.path();
    // The pipe that has the name is one that the recorder does not wait at.
    remove_file(&path).unwrap();
    mkfifo(&path, Mode::S_IRUSR).unwrap();
    let source = FilteredDir::open(temp.path(), &[]).unwrap().unwrap();
    let mut process = Process { was_locked: true, ..Process::default() };
    assert!(!within(&source, |scrape| process.reap(scrape, path.file_name().unwrap())));
    assert!(path.exists() && process.open.is_some());
}

// 1. Another reader holds the pipe, and its writer with it. 2. So we cannot see that there is one. 3. That is no
// evidence that nobody writes.
#[test]
fn a_pipe_that_another_reader_has_is_not_removed() {
    let _entered = enter();
    let (temp, source) = abandoned();
    let path = temp.path().join(NAME);
    let _writer = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let reader = File::open(&path).unwrap();
    reader.try_lock().unwrap();
    let mut process = Process { was_locked: true, ..Process::default() };
    assert!(timeout(&mut process, &source).is_some());
    assert!(matches!(conclude(&mut process, &source, Err(ProbeError::TimedOut)), Status::Late));
    assert!(path.exists(), "removed on the strength of a byte");

    let start = Instant::now();
    let mut process = Process::default();
    for seconds in [0, 5, 10, 20] {
        ask(&mut process, &source, start + Duration::from_secs(seconds));
    }
    assert!(path.exists(), "removed on the strength of silence");
}

#[test]
fn a_late_process_that_retires_its_pipe_is_waited_for_again() {
    let _entered = enter();
    let (temp, source) = abandoned();
    let mut process = Process { is_late: true, has_foreign_pid: true, ..Process::default() };
    assert_eq!(timeout(&mut process, &source).unwrap(), Duration::ZERO);
    process.open = Some(open(&source));
    remove_file(temp.path().join(NAME)).unwrap();
    process.resume_read(&mut [0; PROBE_BYTES]);
    assert!(process.open.is_none());
    assert_eq!(timeout(&mut process, &source).unwrap(), Duration::from_secs(1));
}

#[test]
fn what_comes_between_two_collections_is_checked_as_well() {
    let _entered = enter();
    let (temp, source) = abandoned();
    let mut process = Process { was_locked: true, ..Process::default() };
    for (text, n_stats, is_late) in [
        ("a: 1\nb: 2\n", 2, false),
        ("b: 3\n", 2, true),
        ("a: 1\nb: 2\nc: 3", 2, true),
        ("a: 1\nb: 2\nc: 3\n", 3, false),
    ] {
        process.is_late = true;
        process.open = Some(open(&source));
        std::fs::write(temp.path().join(NAME), text).unwrap();
        process.resume_read(&mut [0; PROBE_BYTES]);
        assert_eq!((process.last.as_ref().unwrap().n_stats(), process.is_late), (n_stats, is_late), "{text}");
    }
}
