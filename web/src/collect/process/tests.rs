//! Tests of one process between scrapes: timeouts, death, competing readers, removal of dead pipes.

use super::*;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use statvent_core::Registry;
use statvent_posix::Recorder;
use std::fs::{File, OpenOptions, remove_file, rename};
use std::io::Write as _;
use std::sync::LazyLock;
use tokio::runtime::{Builder, EnterGuard, Runtime};

/// The name of a pipe without a writer, whose pid no process has.
const NAME: &str = "2147483647.stats";

/// Opening a pipe needs a tokio runtime.
fn enter() -> EnterGuard<'static> {
    static RUNTIME: LazyLock<Runtime> =
        LazyLock::new(|| Builder::new_current_thread().enable_all().build().unwrap());
    RUNTIME.enter()
}

fn abandoned_pipe() -> (tempfile::TempDir, FilteredDir) {
    let temp = tempfile::tempdir().unwrap();
    mkfifo(&temp.path().join(NAME), Mode::S_IRUSR).unwrap();
    let dir = FilteredDir::open(temp.path(), &[]).unwrap().unwrap();
    (temp, dir)
}

fn open(dir: &FilteredDir) -> Box<Pipe> {
    Pipe::open(dir, NAME.as_ref(), Charge::default()).map_err(drop).expect("a pipe")
}

const DEADLINE: Duration = Duration::from_secs(1);

fn quota() -> Arc<Quota> {
    Quota::new(1 << 20)
}

/// Returns how long to wait for its answer; `None` if it is dead.
fn timeout(process: &mut Process, dir: &FilteredDir) -> Option<Duration> {
    process.response_timeout(dir, NAME.as_ref(), &quota(), DEADLINE)
}

fn apply_result(
    process: &mut Process,
    dir: &FilteredDir,
    result: Result<ProcessSnapshot, ProbeError>,
) -> Status {
    process.apply_result(dir, NAME.as_ref(), &quota(), result)
}

fn probe_suspect(process: &mut Process, dir: &FilteredDir, now: Instant) -> Status {
    let mut pipe = open(dir);
    pipe.read(&mut [0; WRITER_CHECK_BYTES]).unwrap();
    process.open_pipe = Some(pipe);
    process.on_suspect(dir, NAME.as_ref(), now)
}

#[test]
fn an_abandoned_pipe_is_removed_in_the_third_scrape_after_ten_seconds() {
    let _entered = enter();
    let (temp, dir) = abandoned_pipe();
    let start = Instant::now();
    let mut process = Process { last_snapshot: Some(ProcessSnapshot::default()), ..Process::default() };
    for (seconds, exists) in [(0, true), (1, true), (9, true), (10, false)] {
        let status = probe_suspect(&mut process, &dir, start + Duration::from_secs(seconds));
        assert_eq!(matches!(status, Status::Stale), exists, "after {seconds} s");
        assert_eq!(temp.path().join(NAME).exists(), exists, "after {seconds} s");
    }
    assert!(process.is_gone && process.last_snapshot.is_none());
}

#[test]
fn a_writer_resets_the_evidence_of_abandonment() {
    let _entered = enter();
    let (temp, dir) = abandoned_pipe();
    let start = Instant::now();
    let mut process = Process::default();
    for seconds in [0, 5] {
        probe_suspect(&mut process, &dir, start + Duration::from_secs(seconds));
    }
    let path = temp.path().join(NAME);
    let writer = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    probe_suspect(&mut process, &dir, start + Duration::from_secs(10));
    process.open_pipe = None;
    drop(writer);
    for seconds in [11, 19] {
        assert!(matches!(
            probe_suspect(&mut process, &dir, start + Duration::from_secs(seconds)),
            Status::Late
        ));
    }
    assert!(path.exists(), "removed on evidence from before the writer came");
}

#[test]
fn a_writer_that_took_the_name_of_a_dead_pipe_is_not_removed() {
    let _entered = enter();
    let (temp, dir) = abandoned_pipe();
    let path = temp.path().join(NAME);
    let _writer = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut process = Process { had_lock_byte: true, ..Process::default() };
    assert!(timeout(&mut process, &dir).is_some());
    assert!(process.open_pipe.is_some(), "it is probed on the pipe that was opened");
    assert!(path.exists());
}

#[test]
fn a_pipe_whose_byte_was_locked_and_is_free_is_removed_at_once() {
    let _entered = enter();
    let (temp, dir) = abandoned_pipe();
    let mut process = Process {
        had_lock_byte: true,
        last_snapshot: Some(ProcessSnapshot::default()),
        ..Process::default()
    };
    assert!(timeout(&mut process, &dir).is_none());
    assert!(process.is_gone && process.last_snapshot.is_none());
    assert!(!temp.path().join(NAME).exists());
}

// 1. The collector keeps a pipe open.
// 2. Its recorder swaps the pipe, writes to the old one, and is killed.
// 3. The data in the old pipe is no sign of life.
#[test]
fn data_in_a_retired_pipe_is_no_sign_of_life() {
    let _entered = enter();
    let (temp, dir) = abandoned_pipe();
    let path = temp.path().join(NAME);
    let open = open(&dir);
    let mut writer = OpenOptions::new().write(true).open(&path).unwrap();
    mkfifo(&temp.path().join("fresh"), Mode::S_IRUSR).unwrap();
    rename(temp.path().join("fresh"), &path).unwrap();
    writer.write_all(b"a: 1\n").unwrap();
    drop(writer);
    let mut process = Process {
        had_lock_byte: true,
        last_snapshot: Some(ProcessSnapshot::default()),
        open_pipe: Some(open),
        ..Process::default()
    };
    assert!(timeout(&mut process, &dir).is_none());
    assert!(process.is_gone && !path.exists());
}

// 1. A process is proved dead.
// 2. Another reader has locked its pipe, so the pipe cannot be removed yet.
#[test]
fn a_dead_process_does_not_count_while_another_reader_holds_its_pipe() {
    let _entered = enter();
    let (temp, dir) = abandoned_pipe();
    let reader = OpenOptions::new().read(true).write(true).open(temp.path().join(NAME)).unwrap();
    reader.try_lock().unwrap();
    let mut process = Process {
        had_lock_byte: true,
        last_snapshot: Some(ProcessSnapshot::default()),
        ..Process::default()
    };
    assert!(timeout(&mut process, &dir).is_some());
    assert!(!matches!(apply_result(&mut process, &dir, Err(ProbeError::TimedOut)), Status::Stale));
    assert!(process.last_snapshot.is_none());
}

// 1. A recorder ends, and the collector sees that its lock byte is free.
// 2. Another recorder takes the name: it locks the byte and creates the pipe.
// 3. The collector opens that pipe, which has no writer at this moment, and must not remove it.
#[test]
fn a_pipe_whose_byte_is_locked_by_the_time_it_is_open_is_not_removed() {
    static STATS: Registry<2, 1, 0> = Registry::new();
    let _entered = enter();
    let temp = tempfile::tempdir().unwrap();
    let recorder = Recorder::builder(&STATS).directory(temp.path()).without_health_check().start().unwrap();
    let path = recorder.path();
    // Gives the name to a pipe on which the recorder does not wait.
    remove_file(&path).unwrap();
    mkfifo(&path, Mode::S_IRUSR).unwrap();
    let dir = FilteredDir::open(temp.path(), &[]).unwrap().unwrap();
    let mut process = Process { had_lock_byte: true, ..Process::default() };
    assert!(!process.sweep(&dir, path.file_name().unwrap(), &quota()));
    assert!(path.exists() && process.open_pipe.is_some());
}

// 1. Another reader has locked the pipe.
// 2. The writer may be connected to that reader, and the collector does not see it.
// 3. So a pipe without a visible writer is no evidence.
#[test]
fn a_pipe_that_another_reader_holds_is_not_removed() {
    let _entered = enter();
    let (temp, dir) = abandoned_pipe();
    let path = temp.path().join(NAME);
    let _writer = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let reader = File::open(&path).unwrap();
    reader.try_lock().unwrap();
    let mut process = Process { had_lock_byte: true, ..Process::default() };
    assert!(timeout(&mut process, &dir).is_some());
    assert!(matches!(apply_result(&mut process, &dir, Err(ProbeError::TimedOut)), Status::Late));
    assert!(path.exists(), "removed because its byte is free");

    let start = Instant::now();
    let mut process = Process::default();
    for seconds in [0, 5, 10, 20] {
        probe_suspect(&mut process, &dir, start + Duration::from_secs(seconds));
    }
    assert!(path.exists(), "removed because it is silent");
}

#[test]
fn a_late_process_that_retires_its_pipe_has_the_whole_deadline_again() {
    let _entered = enter();
    let (temp, dir) = abandoned_pipe();
    let mut process = Process { is_silent: true, has_foreign_pid: true, ..Process::default() };
    assert_eq!(timeout(&mut process, &dir).unwrap(), Duration::ZERO);
    process.open_pipe = Some(open(&dir));
    remove_file(temp.path().join(NAME)).unwrap();
    process.resume_read(&mut [0; WRITER_CHECK_BYTES]);
    assert!(process.open_pipe.is_none());
    assert_eq!(timeout(&mut process, &dir).unwrap(), Duration::from_secs(1));
}

#[test]
fn snapshots_between_two_scrapes_are_validated_as_well() {
    let _entered = enter();
    let (temp, dir) = abandoned_pipe();
    let mut process = Process { had_lock_byte: true, ..Process::default() };
    for (text, n_stats, is_silent) in [
        ("a: 1\nb: 2\n", 2, false),
        ("b: 3\n", 2, true),
        ("a: 1\nb: 2\nc: 3", 2, true),
        ("a: 1\nb: 2\nc: 3\n", 3, false),
    ] {
        process.is_silent = true;
        process.open_pipe = Some(open(&dir));
        std::fs::write(temp.path().join(NAME), text).unwrap();
        process.resume_read(&mut [0; WRITER_CHECK_BYTES]);
        assert_eq!(
            (process.last_snapshot.as_ref().unwrap().n_stats(), process.is_silent),
            (n_stats, is_silent),
            "{text}"
        );
    }
}
