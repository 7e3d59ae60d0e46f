//! What upkeep mends: a pipe or a directory that somebody took away.

use crate::support::{
    DEADLINE, Stats, cat, eventually, in_own_process, is_blocked_in_open, look_up, spawn_test,
    subprocess_arg, wait_for_stop, within,
};
use statvent_posix::Recorder;
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use std::{process, thread};

#[test]
fn the_health_check_releases_a_stranded_reader() {
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

// 1. A reader looks up the name. 2. A fresh pipe takes the name. 3. The reader opens what it found, and waits. 4. The
// recorder ends before its upkeep looks.
#[test]
fn the_end_of_the_recorder_releases_a_stranded_reader() {
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
fn the_end_of_the_process_releases_a_stranded_reader() {
    let name = "stranded_readers::the_end_of_the_process_releases_a_stranded_reader";
    static STATS: Stats = Stats::new();
    if let Some(dir) = subprocess_arg() {
        STATS.incr("a", 1);
        let recorder = Recorder::builder(&STATS).directory(&dir).without_upkeep().start().unwrap();
        wait_for_stop();
        std::mem::forget(recorder);
        process::exit(0);
    }
    let temp = tempfile::tempdir().unwrap();
    let process = spawn_test(name, temp.path());
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
        eventually("the reader to wait", || is_blocked_in_open(&thread).then_some(()));
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
fn no_reader_is_stranded_under_back_to_back_reads() {
    if !in_own_process("stranded_readers::no_reader_is_stranded_under_back_to_back_reads") {
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
