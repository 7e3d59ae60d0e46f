//! Faults of a running recorder: no descriptors, no permission, closed descriptors, full standard error, signals.
//!
//! In each case the recorder survives, does not spin, logs a lasting outage in one line, and recovers.

use crate::support::{
    CatProcess, OwnStderr, SHORT_INTERVAL, Stats, cat, context_switches, drop_privileges, eventually,
    in_own_process, locked_read, names, observe_for, run_and_read_log, subprocess_arg, thread_named,
    try_read, wait_until_recorder_sleeps, within,
};
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::sys::time::TimeValLike;
use statvent_posix::Recorder;
use std::fs::{self, Permissions};
use std::io::{PipeWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, Instant};

static STATS: Stats = Stats::new();

/// Returns the number of context switches of both recorder threads so far.
fn all_context_switches() -> u64 {
    let threads = ["statvent-pipe", "statvent-health"];
    threads.iter().map(|name| context_switches(&eventually(name, || thread_named(name)))).sum()
}

/// Asserts that the recorder threads are nearly idle during an outage and log it once.
pub(crate) fn assert_idle_and_logged_once(stderr: &OwnStderr) {
    assert_few_context_switches(all_context_switches);
    assert_eq!(stderr.wait_for_report(), 1);
    observe_for(Duration::from_millis(500));
    assert_eq!(stderr.n_reports(), 1);
}

/// Asserts that there are few context switches for a second, measured against the time that really passed.
fn assert_few_context_switches(count: impl Fn() -> u64) {
    let (begin, before) = (Instant::now(), count());
    observe_for(Duration::from_secs(1));
    let (n, took) = (count() - before, begin.elapsed());
    // At most one attempt per thread every 100 ms, plus switches for contended locks and preemption.
    assert!(u128::from(n) < took.as_millis() / 3, "{n} context switches in {took:?}");
}

/// Asserts that this process uses less than a tenth of a processor, measured against the time that really passed.
pub(crate) fn assert_little_cpu_time(time: Duration) {
    let (begin, before) = (Instant::now(), cpu_time());
    observe_for(time);
    let (used, took) = (cpu_time() - before, begin.elapsed());
    assert!(used < took / 10, "{used:?} of CPU time in {took:?}");
}

#[test]
fn a_recorder_without_descriptors_logs_once_idles_and_recovers() {
    let Some(dir) = subprocess_arg() else {
        let temp = tempfile::tempdir().unwrap();
        let name = "faults::a_recorder_without_descriptors_logs_once_idles_and_recovers";
        let log = run_and_read_log(&[], name, temp.path());
        assert_eq!(log.len(), 1, "{log:?}");
        let begin = ": cannot publish stats, retrying: ";
        let end = ": no descriptor is left: raise the limit of open files (`ulimit -n`; fs.file-max for the whole \
                   system): Too many open files (os error 24)";
        assert!(log[0].contains(begin) && log[0].ends_with(end), "{log:?}");
        return;
    };
    STATS.incr("a", 1);
    let stderr = OwnStderr::open();
    let recorder =
        Recorder::builder(&STATS).directory(dir).health_check_interval(SHORT_INTERVAL).start().unwrap();
    let reader = CatProcess::spawn(&recorder.path());
    let paths = ["statvent-pipe", "statvent-health"].map(|name| eventually(name, || thread_named(name)));
    let statuses: Vec<_> = paths.iter().map(|path| fs::File::open(path.join("status")).unwrap()).collect();
    wait_until_recorder_sleeps();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 3, hard).unwrap();
    // The recorder's end of this pipe was opened before the limit applied. No further descriptor can be opened.
    assert_eq!(reader.read(), "a: 1\n");
    assert_few_context_switches(|| count_context_switches(&statuses));
    assert_eq!(stderr.wait_for_report(), 1);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    eventually("a whole snapshot", || (try_read(&recorder.path()) == "a: 1\n").then_some(()));
}

// Regression:
// 1. A program starts a recorder and then becomes a daemon: it closes all unknown descriptors, and may open files that get
//    the same numbers.
// 2. At its next health check the recorder polled a wrong descriptor and spun.
// 3. It never published again, and closed files of the program.
#[test]
fn a_recorder_republishes_after_the_program_closed_or_replaced_its_descriptors() {
    let name = "faults::a_recorder_republishes_after_the_program_closed_or_replaced_its_descriptors";
    let Some(dir) = subprocess_arg() else {
        for how in ["closed", "replaced"] {
            let temp = tempfile::tempdir().unwrap();
            assert_eq!(run_and_read_log(&[], name, &temp.path().join(how)), [""; 0], "{how}");
        }
        return;
    };
    STATS.incr("a", 1);
    let recorder =
        Recorder::builder(&STATS).directory(&dir).health_check_interval(SHORT_INTERVAL).start().unwrap();
    assert_eq!(cat(&recorder.path()), "a: 1\n");
    // SAFETY: only the recorder uses these descriptors.
    assert_eq!(unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) }, 0);
    let is_replaced = dir.ends_with("replaced");
    let files: Vec<_> =
        (0..64).filter(|_| is_replaced).map(|_| fs::File::open("/dev/null").unwrap()).collect();
    eventually("a whole snapshot", || (try_read(&recorder.path()) == "a: 1\n").then_some(()));
    assert_little_cpu_time(Duration::from_secs(1));
    assert_eq!(cat(&recorder.path()), "a: 1\n");
    within("the recorder to stop", move || drop(recorder));
    assert_eq!(names(&dir), [""; 0]);
    assert!(files.iter().all(|file| file.metadata().is_ok()), "the recorder closed a file of the program");
}

/// Returns the CPU time of this process so far, user and system.
fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let time = usage.user_time() + usage.system_time();
    Duration::from_micros(time.num_microseconds().try_into().unwrap())
}

/// Adds up the context switches in status files of `/proc` that are already open: no descriptor is free by then.
fn count_context_switches(statuses: &[fs::File]) -> u64 {
    use std::os::unix::fs::FileExt;
    let count = |status: &fs::File| {
        let mut text = vec![0; 8192];
        let n = status.read_at(&mut text, 0).unwrap();
        let text = String::from_utf8(text[..n].to_vec()).unwrap();
        let counts = text.lines().filter_map(|line| line.split_once("_ctxt_switches:"));
        counts.map(|(_, count)| count.trim().parse::<u64>().unwrap()).sum::<u64>()
    };
    statuses.iter().map(count).sum()
}

#[test]
fn a_directory_that_becomes_unwritable_is_logged_once_and_recovered_from() {
    let Some(dir) = subprocess_arg() else {
        let temp = tempfile::tempdir().unwrap();
        fs::set_permissions(temp.path(), Permissions::from_mode(0o777)).unwrap();
        let name = "faults::a_directory_that_becomes_unwritable_is_logged_once_and_recovered_from";
        let log = run_and_read_log(&[], name, temp.path());
        assert_eq!(log.len(), 1, "{log:?}");
        assert!(log[0].contains("retrying: cannot create a pipe in "), "{log:?}");
        assert!(log[0].ends_with("Permission denied (os error 13)"), "{log:?}");
        return;
    };
    drop_privileges();
    STATS.incr("a", 1);
    let dir = dir.join("pipes");
    let stderr = OwnStderr::open();
    let recorder =
        Recorder::builder(&STATS).directory(&dir).health_check_interval(SHORT_INTERVAL).start().unwrap();
    fs::set_permissions(&dir, Permissions::from_mode(0o555)).unwrap();
    // The first reader is served. Later readers wait and then get end of file.
    assert_eq!(cat(&recorder.path()), "a: 1\n");
    (0..3).for_each(|_| assert_eq!(cat(&recorder.path()), ""));
    assert_idle_and_logged_once(&stderr);
    fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
    eventually("a whole snapshot", || (try_read(&recorder.path()) == "a: 1\n").then_some(()));
    drop(recorder);
    assert!(names(&dir).is_empty());
}

#[test]
fn a_full_standard_error_blocks_nothing() {
    if !in_own_process("faults::a_full_standard_error_blocks_nothing") {
        return;
    }
    drop_privileges();
    STATS.incr("a", 1);
    let (_unread, full) = std::io::pipe().unwrap();
    fill(&full);
    nix::unistd::dup2_stderr(&full).unwrap();
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("pipes");
    let recorder =
        Recorder::builder(&STATS).directory(&dir).health_check_interval(SHORT_INTERVAL).start().unwrap();
    fs::set_permissions(&dir, Permissions::from_mode(0o555)).unwrap();
    assert_eq!(cat(&recorder.path()), "a: 1\n");
    // An outage is logged after one second.
    observe_for(Duration::from_millis(1500));
    fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
    eventually("a whole snapshot", || (try_read(&recorder.path()) == "a: 1\n").then_some(()));
    within("the recorder to stop", move || drop(recorder));
}

/// Writes to a pipe until it is full.
fn fill(mut pipe: &PipeWriter) {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while pipe.write(&[b'x'; 4096]).is_ok() {}
    while pipe.write(b"x").is_ok() {}
    fcntl(pipe, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
}

extern "C" fn ignore(_: libc::c_int) {}

// The handler is installed without SA_RESTART: it interrupts system calls in every thread that does not block the signal.
#[test]
fn a_storm_of_signals_breaks_no_read() {
    if !in_own_process("faults::a_storm_of_signals_breaks_no_read") {
        return;
    }
    let action = SigAction::new(SigHandler::Handler(ignore), SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGUSR1, Signal::SIGCHLD] {
        // SAFETY: the handler does nothing.
        unsafe { sigaction(signal, &action) }.unwrap();
    }
    STATS.incr("a", 1);
    let temp = tempfile::tempdir().unwrap();
    let recorder = Recorder::builder(&STATS)
        .directory(temp.path())
        .health_check_interval(SHORT_INTERVAL)
        .start()
        .unwrap();
    let own_pid = nix::unistd::getpid();
    let path = recorder.path();
    let reading = thread::spawn(move || (0..500).all(|_| locked_read(&path) == "a: 1\n"));
    let mut n_sent = 0;
    while !reading.is_finished() || n_sent < 1000 {
        kill(own_pid, Signal::SIGUSR1).unwrap();
        kill(own_pid, Signal::SIGCHLD).unwrap();
        n_sent += 2;
    }
    assert!(reading.join().unwrap());
    drop(recorder);
    assert!(names(temp.path()).is_empty());
}
