//! Shared helpers: readers with a deadline, subprocesses for single tests, waiting for events.
//!
//! Only this file sleeps. It asserts nothing about a recorder: expectations stay in the tests.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use statvent_core::{Reader, Registry};
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use std::{env, thread};

/// 60 s: far longer than any step takes, also on a busy machine. A test that waits this long fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

const SUBPROCESS_ARG: &str = "STATVENT_TEST_SUBPROCESS";

/// 100 ms: the shortest interval between health checks that a recorder accepts.
pub(crate) const SHORT_INTERVAL: Duration = Duration::from_millis(100);

/// The size of registry that most tests use.
pub(crate) type Stats = Registry<64, 2, 4096>;

/// Runs `f` and returns its result; fails when that takes longer than [`DEADLINE`].
pub(crate) fn within<T: Send + 'static>(what: &str, f: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, ended) = channel();
    thread::spawn(move || done.send(f()));
    ended.recv_timeout(DEADLINE).unwrap_or_else(|err| panic!("{what}: {err}"))
}

/// Reads a pipe to its end as `cat` does.
pub(crate) fn cat(path: &Path) -> String {
    let path = path.to_owned();
    within("cat", move || fs::read_to_string(path).unwrap())
}

/// Calls `f` every millisecond until it returns `Some`; fails after [`DEADLINE`].
pub(crate) fn eventually<T>(what: &str, f: impl FnMut() -> Option<T>) -> T {
    eventually_within(DEADLINE, what, f)
}

fn eventually_within<T>(deadline: Duration, what: &str, mut f: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = f() {
            return found;
        }
        assert!(begin.elapsed() < deadline, "timed out waiting for {what}");
        observe_for(Duration::from_millis(1));
    }
}

/// Sleeps, to observe that nothing happens or to wait before the next attempt.
pub(crate) fn observe_for(time: Duration) {
    thread::sleep(time);
}

/// A `cat` in another process, unaffected by this process's limits and descriptors. It starts on demand.
pub(crate) struct CatProcess(KillOnDrop);

impl CatProcess {
    pub(crate) fn spawn(path: &Path) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", "read -r word; cat \"$0\""]).arg(path);
        Self(KillOnDrop(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()))
    }

    /// Starts the read and returns the text.
    pub(crate) fn read(mut self) -> String {
        let Child { stdin, stdout, .. } = &mut self.0.0;
        stdin.take().unwrap().write_all(b"go\n").unwrap();
        let stdout = stdout.take().unwrap();
        let text = within("the cat process", move || std::io::read_to_string(stdout).unwrap());
        self.0.wait();
        text
    }
}

/// Opens a pipe for reading without waiting for a writer.
pub(crate) fn open_nonblocking(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

/// Waits until a pipe has bytes to read.
pub(crate) fn wait_readable(pipe: &File) {
    let mut fds = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(DEADLINE).unwrap();
    assert_eq!(poll(&mut fds, timeout), Ok(1), "timed out waiting for bytes");
}

/// Reads a whole snapshot as the service does: locks the pipe first, and opens the name again if the pipe was retired.
pub(crate) fn locked_read(path: &Path) -> String {
    eventually("a whole snapshot", || {
        let pipe = open_nonblocking(path).ok()?;
        match pipe.try_lock() {
            Err(TryLockError::WouldBlock) => return None,
            locked => locked.unwrap(),
        }
        let is_retired = || fstat(&pipe).unwrap().st_nlink == 0;
        let text = read_to_end(&pipe, is_retired);
        (!text.is_empty()).then_some(text)
    })
}

/// Reads a pipe if a writer comes within 20 ms; otherwise returns an empty text.
pub(crate) fn try_read(path: &Path) -> String {
    let Ok(pipe) = open_nonblocking(path) else { return String::new() };
    // A writer that already waits in `open` wakes up at once.
    let mut fds = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, PollTimeout::from(20_u8)) {
        // A writer is connected, or was.
        Ok(1) => read_to_end(&pipe, || true),
        _ => String::new(),
    }
}

/// Reads to end of file. An end of file before any data counts only if `is_end` was true before the read: a pipe that has no
/// writer yet gives the same answer, and its writer may come right after the read.
fn read_to_end(mut pipe: &File, is_end: impl Fn() -> bool) -> String {
    let mut text = Vec::new();
    eventually("the end of a snapshot", || {
        let is_end = is_end();
        match pipe.read_to_end(&mut text) {
            Ok(_) => (!text.is_empty() || is_end).then_some(()),
            Err(err) if err.kind() == ErrorKind::WouldBlock => None,
            Err(err) => panic!("{err}"),
        }
    });
    String::from_utf8(text).unwrap()
}

/// Opens what a name refers to now, without opening the pipe itself (`O_PATH`).
pub(crate) fn look_up(pipe: &Path) -> File {
    OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(pipe).unwrap()
}

/// Lists the names in a directory, sorted.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(name).collect();
    names.sort();
    names
}

/// Fills a registry until its text exceeds 1 MiB, the most that an ordinary user's pipe holds, and returns that text.
pub(crate) fn fill_beyond_any_pipe() -> (Reader<'static>, String) {
    static LARGE: Registry<8192, 2, { 2 << 20 }> = Registry::new();
    let mut text = String::new();
    for i in 0..8000 {
        let name = format!("{i:0>200}");
        LARGE.set(&name, i);
        text.push_str(&format!("{name}: {i}\n"));
    }
    assert!(text.len() > 1 << 20);
    (Reader::from(&LARGE), text)
}

/// Becomes an ordinary user permanently, if the process is root. Call it only in a test's own process.
pub(crate) fn drop_privileges() {
    become_user(65_534);
}

/// Like [`drop_privileges`], but as a user that no other test uses: for limits that all processes of a user share.
pub(crate) fn become_unshared_user() {
    become_user(65_533);
}

fn become_user(id: u32) {
    if Uid::effective().is_root() {
        let (user, group) = (Uid::from_raw(id), Gid::from_raw(id));
        setgroups(&[]).unwrap();
        setresgid(group, group, group).unwrap();
        setresuid(user, user, user).unwrap();
    }
}

/// Returns true in the subprocess that runs only the test `name`; otherwise spawns that subprocess and asserts its success.
pub(crate) fn in_own_process(name: &str) -> bool {
    if let Some(has_begun) = subprocess_arg() {
        fs::write(has_begun, "").unwrap();
        return true;
    }
    let temp = tempfile::tempdir().unwrap();
    let has_begun = temp.path().join("has-begun");
    let status = spawn_test(name, &has_begun).wait();
    assert!(status.success(), "{name}: {status}");
    assert!(has_begun.exists(), "{name}: there is no test of this name");
    false
}

/// Returns the argument that [`spawn_test`] passed to this process; `None` in the process that runs all tests.
pub(crate) fn subprocess_arg() -> Option<PathBuf> {
    env::var_os(SUBPROCESS_ARG).map(PathBuf::from)
}

/// A process that is killed when the test ends.
pub(crate) struct KillOnDrop(pub(crate) Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the test `name` in a subprocess with an argument, usually the pipe directory, and a pipe as standard input.
pub(crate) fn spawn_test(name: &str, arg: &Path) -> KillOnDrop {
    spawn_test_with(&[], name, arg, Stdio::inherit())
}

/// Like [`spawn_test`], but through `program`, which gets the test's command line appended, and with a given standard error.
pub(crate) fn spawn_test_with(program: &[&str], name: &str, arg: &Path, stderr: Stdio) -> KillOnDrop {
    let test_binary = env::current_exe().unwrap();
    let mut words = program.iter().map(OsStr::new).chain([test_binary.as_os_str()]);
    let mut command = Command::new(words.next().unwrap());
    command
        .args(words)
        .args([name, "--exact", "--nocapture"])
        .env(SUBPROCESS_ARG, arg)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(stderr);
    KillOnDrop(command.spawn().unwrap())
}

/// Runs the test `name` in a subprocess, through `program` unless that is empty, and returns what recorders logged there.
pub(crate) fn run_and_read_log(program: &[&str], name: &str, arg: &Path) -> Vec<String> {
    let stderr = tempfile::NamedTempFile::new().unwrap();
    let status = spawn_test_with(program, name, arg, stderr.reopen().unwrap().into()).wait();
    let log = fs::read_to_string(stderr.path()).unwrap();
    assert!(status.success(), "{status}: {log}");
    log.lines().filter(|line| line.starts_with("statvent: ")).map(str::to_owned).collect()
}

impl KillOnDrop {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Waits until the process exits. The deadline is twice [`DEADLINE`], so that a test inside the process fails first and
    /// reports what it waited for.
    pub(crate) fn wait(mut self) -> ExitStatus {
        eventually_within(DEADLINE * 2, "the process to end", || self.0.try_wait().unwrap())
    }

    /// Closes the process's standard input, which stops it, and asserts that it succeeded.
    pub(crate) fn end(mut self) {
        drop(self.0.stdin.take());
        let status = self.wait();
        assert!(status.success(), "{status}");
    }
}

/// This process's standard error, if it is a readable file: see [`run_and_read_log`].
pub(crate) struct OwnStderr(File);

impl OwnStderr {
    pub(crate) fn open() -> Self {
        Self(std::io::stderr().as_fd().try_clone_to_owned().unwrap().into())
    }

    /// Waits until the recorder has logged that it cannot publish, and returns the number of such lines.
    pub(crate) fn wait_for_report(&self) -> usize {
        eventually("a line on standard error", || Some(self.n_reports()).filter(|n| *n > 0))
    }

    /// Returns how many lines the recorder has logged about being unable to publish.
    pub(crate) fn n_reports(&self) -> usize {
        let mut text = vec![0; 64 * 1024];
        let n_bytes = self.0.read_at(&mut text, 0).unwrap();
        String::from_utf8_lossy(&text[..n_bytes]).matches("cannot publish stats, retrying: ").count()
    }
}

/// Removes a directory in which a recorder may create a pipe at the same time.
pub(crate) fn remove_all(dir: &Path) {
    eventually("the directory to be empty", || fs::remove_dir_all(dir).ok());
}

/// Blocks until the parent test closes this process's standard input.
pub(crate) fn wait_for_stop() {
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// Spawns a test that publishes `a: 1` in `dir`, reads its pipe once, and returns the process and the pipe's path.
pub(crate) fn start_publisher(name: &str, dir: &Path) -> (KillOnDrop, PathBuf) {
    let process = spawn_test(name, dir);
    let pipe = dir.join(format!("{}.stats", process.pid()));
    eventually("the pipe", || pipe.exists().then_some(()));
    assert_eq!(locked_read(&pipe), "a: 1\n");
    (process, pipe)
}

/// Returns the `/proc` directory of the thread with this name.
pub(crate) fn thread_named(name: &str) -> Option<PathBuf> {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let mut paths = threads.map(|thread| thread.unwrap().path());
    paths.find(|path| fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim_end() == name))
}

/// Waits until the recorder of this process sleeps in `open` of its pipe. The kernel has reserved the descriptor by then.
pub(crate) fn wait_until_recorder_sleeps() {
    eventually("the recorder to sleep in open", || {
        is_blocked_in_open(&thread_named("statvent-pipe")?).then_some(())
    });
}

/// Returns whether a thread, given by its `/proc` directory, sleeps in `open`.
pub(crate) fn is_blocked_in_open(thread: &Path) -> bool {
    let call = fs::read_to_string(thread.join("syscall")).unwrap_or_default();
    call.split(' ').next().and_then(|number| number.parse().ok()) == Some(libc::SYS_openat)
}

/// Returns the number of voluntary and involuntary context switches of a thread.
pub(crate) fn context_switches(thread: &Path) -> u64 {
    let status = fs::read_to_string(thread.join("status")).unwrap();
    let counts = status.lines().filter_map(|line| {
        let (name, count) = line.split_once(':')?;
        name.ends_with("voluntary_ctxt_switches").then(|| count.trim().parse::<u64>().unwrap())
    });
    counts.sum()
}

/// Reports why a test is skipped; fails if all tests are required to run.
pub(crate) fn skip(why: &str) {
    assert!(env::var_os("STATVENT_TEST_ALL").is_none(), "cannot run here: {why}");
    eprintln!("skipped: {why}");
}
