//! Stranded readers: they looked up a pipe's name before a swap and opened the retired pipe after it.

use crate::support::{
    DEADLINE, SHORT_INTERVAL, Stats, cat, eventually, in_own_process, is_blocked_in_open, look_up,
    spawn_test, subprocess_arg, wait_for_stop, within,
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
        Recorder::builder(&STATS).directory(temp.path()).health_check_interval(interval).start().unwrap();
    let text = eventually("a stranded reader to be released", || {
        // Simulates a reader that looks up the name now and opens the pipe later.
        let handle = look_up(&recorder.path());
        assert_eq!(cat(&recorder.path()), "a: 1\n");
        // A reader that opens the pipe only after the health check has closed it waits forever: try the next one.
        Stranded::on(&handle).read_within(interval * 4, &handle)
    });
    assert_eq!(text, "");
}

// Regression:
// 1. A reader looks up the name.
// 2. A swap gives the name to a fresh pipe.
// 3. The reader opens the retired pipe and waits.
// 4. The recorder stops before its next health check.
#[test]
fn the_end_of_the_recorder_releases_a_stranded_reader() {
    static STATS: Stats = Stats::new();
    let temp = tempfile::tempdir().unwrap();
    STATS.incr("a", 1);
    let recorder = Recorder::builder(&STATS).directory(temp.path()).without_health_check().start().unwrap();
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
        let recorder = Recorder::builder(&STATS).directory(&dir).without_health_check().start().unwrap();
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

/// A reader that waits in `open` of a pipe that it looked up before.
struct Stranded {
    read: Receiver<String>,
}

impl Stranded {
    /// Starts the reader and waits until it sleeps in `open`.
    fn on(handle: &File) -> Self {
        let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
        let ((send_tid, tid), (done, read)) = (channel(), channel());
        thread::spawn(move || {
            send_tid.send(nix::unistd::gettid()).unwrap();
            done.send(fs::read_to_string(path).unwrap()).unwrap();
        });
        let thread = PathBuf::from(format!("/proc/self/task/{}", tid.recv().unwrap()));
        eventually("the reader to wait", || is_blocked_in_open(&thread).then_some(()));
        Self { read }
    }

    fn read(self) -> String {
        self.read.recv_timeout(DEADLINE).unwrap()
    }

    /// Returns the text if the read ends within `time`; otherwise releases the reader by opening the pipe for writing.
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
    let recorder = builder.health_check_interval(SHORT_INTERVAL).start().unwrap();
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
    // At most 32 retired pipes, one descriptor per reader, and a few others.
    assert!(most < 60, "{most} descriptors");
}
