//! Tests of what is remembered of a process: what silence, death and other readers change, and what is removed.

use super::*;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use statvent_core::Registry;
use statvent_posix::Recorder;
use std::fs::{File, OpenOptions, remove_file, rename};
use std::io::Write as _;

/// A pipe in a directory, which nobody writes and whose pid no process has.
const NAME: &str = "2147483647.stats";

fn abandoned() -> (tempfile::TempDir, Source) {
    let temp = tempfile::tempdir().unwrap();
    mkfifo(&temp.path().join(NAME), Mode::S_IRUSR).unwrap();
    let source = Source::open(temp.path(), &[]).unwrap().unwrap();
    (temp, source)
}

fn ask(process: &mut Process, source: &Source, now: Instant) -> Standing {
    let Opening::Pipe(mut pipe) = Pipe::open(source, NAME.as_ref()) else { panic!("no pipe") };
    pipe.advance(now, &mut [0; PROBE_BYTES]);
    process.open = Some(pipe);
    process.stand_in_doubt(source, NAME.as_ref(), now)
}

#[test]
fn an_abandoned_pipe_is_removed_in_the_third_round_after_ten_seconds() {
    let (temp, source) = abandoned();
    let start = Instant::now();
    let mut process = Process { last: Some(Reading::default()), ..Process::default() };
    for (seconds, exists) in [(0, true), (1, true), (9, true), (10, false)] {
        let standing = ask(&mut process, &source, start + Duration::from_secs(seconds));
        assert_eq!(matches!(standing, Standing::Stale), exists, "after {seconds} s");
        assert_eq!(temp.path().join(NAME).exists(), exists, "after {seconds} s");
    }
    assert!(process.is_gone() && process.last.is_none());
}

#[test]
fn a_writer_clears_all_doubt() {
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
        assert!(matches!(ask(&mut process, &source, start + Duration::from_secs(seconds)), Standing::Late));
    }
    assert!(path.exists(), "removed on the strength of rounds before the writer came");
}

#[test]
fn a_writer_that_took_a_dead_pipe_s_name_is_not_buried() {
    let (temp, source) = abandoned();
    let path = temp.path().join(NAME);
    let _writer = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut process = Process { seen_held: true, ..Process::default() };
    let question = process.question(&source, NAME.as_ref(), Duration::from_secs(1));
    assert!(
        question.is_some_and(|question| question.open.is_some()),
        "it is asked on the pipe that was opened"
    );
    assert!(path.exists());
}

#[test]
fn a_pipe_whose_byte_was_held_and_is_free_is_removed_at_once() {
    let (temp, source) = abandoned();
    let mut process = Process { seen_held: true, last: Some(Reading::default()), ..Process::default() };
    assert!(process.question(&source, NAME.as_ref(), Duration::from_secs(1)).is_none());
    assert!(process.is_gone() && process.last.is_none());
    assert!(!temp.path().join(NAME).exists());
}

// 1. We keep a pipe open. 2. Its recorder hands over, writes to it, and is killed. 3. What lies in that pipe says nothing
// against its death.
#[test]
fn last_words_do_not_unprove_a_death() {
    let (temp, source) = abandoned();
    let path = temp.path().join(NAME);
    let Opening::Pipe(open) = Pipe::open(&source, NAME.as_ref()) else { panic!("no pipe") };
    let mut writer = OpenOptions::new().write(true).open(&path).unwrap();
    mkfifo(&temp.path().join("fresh"), Mode::S_IRUSR).unwrap();
    rename(temp.path().join("fresh"), &path).unwrap();
    writer.write_all(b"a: 1\n").unwrap();
    drop(writer);
    let mut process =
        Process { seen_held: true, last: Some(Reading::default()), open: Some(open), ..Process::default() };
    assert!(process.question(&source, NAME.as_ref(), Duration::from_secs(1)).is_none());
    assert!(process.is_gone() && !path.exists());
}

// 1. A process is proved dead. 2. Another reader has its pipe, which therefore cannot be removed yet.
#[test]
fn a_dead_process_does_not_count_where_another_reader_has_its_pipe() {
    let (temp, source) = abandoned();
    let reader = OpenOptions::new().read(true).write(true).open(temp.path().join(NAME)).unwrap();
    reader.try_lock().unwrap();
    let mut process = Process { seen_held: true, last: Some(Reading::default()), ..Process::default() };
    let question = process.question(&source, NAME.as_ref(), Duration::from_secs(1)).unwrap();
    let told = Told { heard: Heard::Nothing(question.open), last: question.last, was_awake: false };
    assert!(!matches!(process.take(&source, NAME.as_ref(), told), Standing::Stale));
    assert!(process.last.is_none());
}

// 1. A recorder ends; the collector sees that its byte is free. 2. Another one takes the name: the byte, then the
// pipe. 3. The collector opens that pipe, which nobody writes at this moment, and must not remove it.
#[test]
fn a_pipe_whose_byte_is_taken_by_the_time_it_is_open_is_not_buried() {
    static STATS: Registry<2, 1, 0> = Registry::new();
    let temp = tempfile::tempdir().unwrap();
    let recorder = Recorder::builder(&STATS).directory(temp.path()).without_upkeep().start().unwrap();
    let path = recorder.path();
    // The pipe that has the name is one that the recorder does not wait at.
    remove_file(&path).unwrap();
    mkfifo(&path, Mode::S_IRUSR).unwrap();
    let source = Source::open(temp.path(), &[]).unwrap().unwrap();
    let mut process = Process { seen_held: true, ..Process::default() };
    assert!(!process.bury(&source, path.file_name().unwrap()));
    assert!(path.exists() && process.open.is_some());
}

// 1. Another reader holds the pipe, and its writer with it. 2. So we cannot see that there is one. 3. That is no
// evidence that nobody writes.
#[test]
fn a_pipe_that_another_reader_has_is_not_removed() {
    let (temp, source) = abandoned();
    let path = temp.path().join(NAME);
    let _writer = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let reader = File::open(&path).unwrap();
    reader.try_lock().unwrap();
    let mut process = Process { seen_held: true, ..Process::default() };
    let question = process.question(&source, NAME.as_ref(), Duration::from_secs(1)).unwrap();
    let told = Told { heard: Heard::Nothing(question.open), last: None, was_awake: false };
    assert!(matches!(process.take(&source, NAME.as_ref(), told), Standing::Late));
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
    let (_temp, source) = abandoned();
    let mut process = Process { is_late: true, ..Process::default() };
    let patience = |process: &mut Process| {
        process.has_foreign_pid = true;
        process.question(&source, NAME.as_ref(), Duration::from_secs(1)).map(|question| question.patience)
    };
    assert_eq!(patience(&mut process), Some(Duration::ZERO));
    process.take_step(Step::Retired { was_ours: true });
    assert_eq!(patience(&mut process), Some(Duration::from_secs(1)));
}

#[test]
fn what_comes_between_two_collections_is_checked_as_well() {
    let reading = |text: &str| Reading::parse(text.as_bytes()).unwrap();
    let mut process = Process { seen_held: true, is_late: true, ..Process::default() };
    for (text, n_stats) in
        [("a: 1\nb: 2\n", 2), ("b: 3\n", 2), ("a: 1\nb: 2\nc: 3", 2), ("a: 1\nb: 2\nc: 3\n", 3)]
    {
        process.take_step(Step::Finished(reading(text)));
        assert_eq!(process.last.as_ref().unwrap().n_stats(), n_stats, "{text}");
        assert!(!process.is_late);
    }
}
