//! What upkeep mends: a pipe or a directory that somebody took away.

use crate::support::{
    DEADLINE, Stats, alone, cat, errand, eventually, names, start_alone, until_told, within,
};
use statvent_core::pipe_name::PipeName;
use statvent_posix::{PipeDir, Recorder, liveness, start_once};
use std::fs::{self, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use std::{env, process, thread};

const OFTEN: Duration = Duration::from_millis(5);

#[test]
fn a_pipe_that_was_deleted_comes_back() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    STATS.incr("a", 1);
    let recorder = Recorder::builder(&STATS).directory(temp.path()).upkeep_interval(OFTEN).start().unwrap();
    for _ in 0..20 {
        fs::remove_file(recorder.path()).unwrap();
        eventually("the pipe", || recorder.path().exists().then_some(()));
        assert_eq!(cat(&recorder.path()), "a: 1\n");
    }
    drop(recorder);
    assert!(names(temp.path()).is_empty());
}

#[test]
fn a_directory_that_was_deleted_or_moved_comes_back_with_its_proof_of_life() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("pipes");
    STATS.incr("a", 1);
    let recorder = Recorder::builder(&STATS).directory(&path).upkeep_interval(OFTEN).start().unwrap();
    fs::remove_dir_all(&path).unwrap();
    eventually("the pipe", || recorder.path().exists().then_some(()));
    assert_eq!(cat(&recorder.path()), "a: 1\n");
    let away = temp.path().join("away");
    fs::rename(&path, &away).unwrap();
    eventually("the pipe", || recorder.path().exists().then_some(()));
    assert_eq!(cat(&recorder.path()), "a: 1\n");
    let dir = PipeDir::open(&path).unwrap();
    assert!(liveness::is_alive(&dir, &PipeName { label: None, pid: process::id(), n: 0 }).unwrap());
    assert!(names(&away).is_empty());
    drop(recorder);
    assert!(names(&path).is_empty());
}

#[test]
fn a_relative_directory_stays_where_it_was_when_the_program_goes_elsewhere() {
    if !alone("mending::a_relative_directory_stays_where_it_was_when_the_program_goes_elsewhere") {
        return;
    }
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    let (here, elsewhere) = (temp.path().join("here"), temp.path().join("elsewhere"));
    fs::create_dir(&here).unwrap();
    fs::create_dir(&elsewhere).unwrap();
    env::set_current_dir(&here).unwrap();
    let recorder = Recorder::builder(&STATS).directory("pipes").upkeep_interval(OFTEN).start().unwrap();
    let path = recorder.path();
    assert!(path.starts_with(&here));
    env::set_current_dir(&elsewhere).unwrap();
    fs::remove_file(&path).unwrap();
    eventually("the pipe", || recorder.path().exists().then_some(()));
    assert_eq!(recorder.path(), path);
    assert!(names(&elsewhere).is_empty());
}

#[test]
fn a_file_in_place_of_the_pipe_is_left_alone_and_another_name_taken() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    STATS.incr("a", 1);
    let recorder = Recorder::builder(&STATS).directory(temp.path()).upkeep_interval(OFTEN).start().unwrap();
    let taken = recorder.path();
    fs::write(temp.path().join("file"), "precious").unwrap();
    fs::rename(temp.path().join("file"), &taken).unwrap();
    let another = eventually("another name", || Some(recorder.path()).filter(|path| *path != taken));
    assert_eq!(cat(&another), "a: 1\n");
    drop(recorder);
    assert_eq!(names(temp.path()), [format!("{}.stats", process::id())]);
    assert_eq!(fs::read(&taken).unwrap(), b"precious");
}

#[test]
fn a_reader_that_comes_through_a_deleted_pipe_heals_it_without_upkeep() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    STATS.incr("a", 1);
    let recorder = Recorder::builder(&STATS).directory(temp.path()).without_upkeep().start().unwrap();
    let handle = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(recorder.path()).unwrap();
    fs::remove_file(recorder.path()).unwrap();
    assert_eq!(cat(format!("/proc/self/fd/{}", handle.as_raw_fd()).as_ref()), "a: 1\n");
    assert_eq!(cat(&recorder.path()), "a: 1\n");
}

#[test]
fn a_reader_stranded_on_a_retired_pipe_is_freed() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    STATS.incr("a", 1);
    let recorder =
        Recorder::builder(&STATS).directory(temp.path()).upkeep_interval(DEADLINE / 30).start().unwrap();
    // As if the reader had looked up the name now and were to open what it found later.
    let handle = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(recorder.path()).unwrap();
    assert_eq!(cat(&recorder.path()), "a: 1\n");
    let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
    assert_eq!(within("the stranded reader", move || fs::read_to_string(path).unwrap()), "");
}

// 1. A reader looks up the name. 2. A fresh pipe takes the name. 3. The reader opens what it found, and waits. 4. The
// recorder ends before its upkeep looks.
#[test]
fn a_reader_stranded_on_a_retired_pipe_is_freed_when_the_recorder_ends() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    STATS.incr("a", 1);
    let recorder = Recorder::builder(&STATS).directory(temp.path()).start().unwrap();
    let handle = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(recorder.path()).unwrap();
    assert_eq!(cat(&recorder.path()), "a: 1\n");
    let stranded = Stranded::on(&handle);
    drop(recorder);
    assert_eq!(stranded.read(), "");
}

#[test]
fn a_reader_stranded_on_a_retired_pipe_is_freed_when_the_process_ends() {
    let name = "mending::a_reader_stranded_on_a_retired_pipe_is_freed_when_the_process_ends";
    static STATS: Stats = Stats::new();
    if let Some(dir) = errand() {
        STATS.incr("a", 1);
        start_once(&STATS, Some(&dir)).unwrap();
        until_told();
        process::exit(0);
    }
    let temp = tempfile::tempdir().unwrap();
    let process = start_alone(name, temp.path());
    let pipe = temp.path().join(format!("{}.stats", process.pid()));
    eventually("the pipe", || pipe.exists().then_some(()));
    let handle = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(&pipe).unwrap();
    assert_eq!(cat(&pipe), "a: 1\n");
    let stranded = Stranded::on(&handle);
    process.end();
    assert_eq!(stranded.read(), "");
}

/// A reader that waits on a pipe that it looked up before.
struct Stranded {
    reading: thread::JoinHandle<String>,
}

impl Stranded {
    /// Returns once the system has it wait there.
    fn on(handle: &fs::File) -> Self {
        let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
        let (say, said) = channel();
        let reading = thread::spawn(move || {
            say.send(nix::unistd::gettid()).unwrap();
            fs::read_to_string(path).unwrap()
        });
        let thread = said.recv().unwrap();
        eventually("the reader to wait", || {
            let status = fs::read_to_string(format!("/proc/self/task/{thread}/status")).unwrap();
            status.contains("State:\tS").then_some(())
        });
        Self { reading }
    }

    fn read(self) -> String {
        within("the stranded reader", move || self.reading.join().unwrap())
    }
}

// 1. A reader looks up the name. 2. More readers come within a moment than retired pipes are kept until upkeep. 3. The first
// one opens what it found, and waits: its pipe was let go of already.
#[test]
fn a_reader_stranded_among_many_fast_ones_is_freed() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    STATS.incr("a", 1);
    let builder = Recorder::builder(&STATS).directory(temp.path());
    let recorder = builder.upkeep_interval(Duration::from_millis(200)).start().unwrap();
    let stranded = eventually("readers that come fast enough", || {
        let flags = libc::O_PATH;
        let handle = OpenOptions::new().read(true).custom_flags(flags).open(recorder.path()).unwrap();
        let begin = Instant::now();
        (0..25).for_each(|_| assert_eq!(fs::read_to_string(recorder.path()).unwrap(), "a: 1\n"));
        // Else the machine is so busy that the first one was given its time.
        (begin.elapsed() < Duration::from_millis(15)).then(|| Stranded::on(&handle))
    });
    assert_eq!(stranded.read(), "");
}

#[test]
fn readers_that_come_as_fast_as_they_can_are_all_served_and_none_is_left() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    STATS.incr("a", 1);
    let builder = Recorder::builder(&STATS).directory(temp.path());
    let recorder = builder.upkeep_interval(Duration::from_millis(100)).start().unwrap();
    let n_descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let is_over = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let (path, is_over) = (recorder.path(), Arc::clone(&is_over));
            thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let _ = fs::read(&path);
                }
            })
        })
        .collect();
    let begin = Instant::now();
    let mut most = 0;
    while begin.elapsed() < Duration::from_secs(2) {
        most = most.max(n_descriptors());
    }
    is_over.store(true, Ordering::Relaxed);
    within("all readers", move || readers.into_iter().for_each(|reader| reader.join().unwrap()));
    // Of other tests in this process there are some as well.
    assert!(most < 400, "{most} descriptors");
}
