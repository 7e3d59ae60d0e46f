//! What upkeep mends: a pipe or a directory that somebody took away.

use crate::support::{
    DEADLINE, Stats, alone, cat, errand, eventually, is_waiting_in_open, names, remove_all, start_alone,
    until_told, within,
};
use statvent_core::pipe_name::PipeName;
use statvent_posix::{PipeDir, Recorder, liveness};
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use std::{env, process, thread};

const OFTEN: Duration = Duration::from_millis(100);

#[test]
fn a_pipe_that_was_deleted_comes_back() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    STATS.incr("a", 1);
    let recorder = Recorder::builder(&STATS).directory(temp.path()).upkeep_interval(OFTEN).start().unwrap();
    for _ in 0..10 {
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
    remove_all(&path);
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
    let handle = look_up(&recorder.path());
    fs::remove_file(recorder.path()).unwrap();
    assert_eq!(cat(format!("/proc/self/fd/{}", handle.as_raw_fd()).as_ref()), "a: 1\n");
    assert_eq!(cat(&recorder.path()), "a: 1\n");
}

#[test]
fn a_reader_stranded_on_a_retired_pipe_is_freed() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    STATS.incr("a", 1);
    let interval = Duration::from_millis(500);
    let recorder =
        Recorder::builder(&STATS).directory(temp.path()).upkeep_interval(interval).start().unwrap();
    let freed = eventually("a stranded reader that is freed", || {
        // As if the reader had looked up the name now and were to open what it found later.
        let handle = look_up(&recorder.path());
        assert_eq!(cat(&recorder.path()), "a: 1\n");
        // One that opens it only after upkeep has let go of it comes too late, and another one tries.
        Stranded::on(&handle).read_within(interval * 4, &handle)
    });
    assert_eq!(freed, "");
}

/// Holds what a name leads to now.
fn look_up(pipe: &Path) -> File {
    OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(pipe).unwrap()
}

// 1. A reader looks up the name. 2. A fresh pipe takes the name. 3. The reader opens what it found, and waits. 4. The
// recorder ends before its upkeep looks.
#[test]
fn a_reader_stranded_on_a_retired_pipe_is_freed_when_the_recorder_ends() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    STATS.incr("a", 1);
    let recorder = Recorder::builder(&STATS).directory(temp.path()).without_upkeep().start().unwrap();
    let handle = look_up(&recorder.path());
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
        let recorder = Recorder::builder(&STATS).directory(&dir).without_upkeep().start().unwrap();
        until_told();
        std::mem::forget(recorder);
        process::exit(0);
    }
    let temp = tempfile::tempdir().unwrap();
    let process = start_alone(name, temp.path());
    let pipe = temp.path().join(format!("{}.stats", process.pid()));
    eventually("the pipe", || pipe.exists().then_some(()));
    let handle = look_up(&pipe);
    assert_eq!(cat(&pipe), "a: 1\n");
    let stranded = Stranded::on(&handle);
    process.end();
    assert_eq!(stranded.read(), "");
}

/// A reader that waits on a pipe that it looked up before.
struct Stranded {
    read: Receiver<String>,
}

impl Stranded {
    /// Returns once the system has it wait there.
    fn on(handle: &File) -> Self {
        let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
        let ((say, said), (done, read)) = (channel(), channel());
        thread::spawn(move || {
            say.send(nix::unistd::gettid()).unwrap();
            done.send(fs::read_to_string(path).unwrap()).unwrap();
        });
        let thread = PathBuf::from(format!("/proc/self/task/{}", said.recv().unwrap()));
        eventually("the reader to wait", || is_waiting_in_open(&thread).then_some(()));
        Self { read }
    }

    fn read(self) -> String {
        self.read.recv_timeout(DEADLINE).unwrap()
    }

    /// Returns what it reads if that comes within so long; else the test lets it go on.
    fn read_within(self, time: Duration, handle: &File) -> Option<String> {
        let read = self.read.recv_timeout(time).ok();
        if read.is_none() {
            let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
            drop(OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path));
        }
        read
    }
}

#[test]
fn readers_that_come_as_fast_as_they_can_are_all_served_and_none_is_left() {
    if !alone("mending::readers_that_come_as_fast_as_they_can_are_all_served_and_none_is_left") {
        return;
    }
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
    while begin.elapsed() < Duration::from_secs(1) {
        most = most.max(n_descriptors());
    }
    is_over.store(true, Ordering::Relaxed);
    within("all readers", move || readers.into_iter().for_each(|reader| reader.join().unwrap()));
    // 32 retired pipes, an end of each reader, and some more.
    assert!(most < 60, "{most} descriptors");
}
