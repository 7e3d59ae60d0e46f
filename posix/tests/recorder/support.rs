//! What the tests share: reads with a deadline, processes of their own, waiting for events.
//!
//! The only place that lets time pass. Nothing here knows what is expected.

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

/// Longer than anything here takes; a test that waits so long fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

const ALONE: &str = "STATVENT_TEST_ALONE";

/// A registry of a test's own.
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

/// Returns what `f` finds at last; fails when it finds nothing for [`DEADLINE`].
pub(crate) fn eventually<T>(what: &str, f: impl FnMut() -> Option<T>) -> T {
    eventually_within(DEADLINE, what, f)
}

fn eventually_within<T>(deadline: Duration, what: &str, mut f: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = f() {
            return found;
        }
        assert!(begin.elapsed() < deadline, "waited in vain for {what}");
        observe_for(Duration::from_millis(1));
    }
}

/// Lets time pass, to see that nothing happens or to look again.
pub(crate) fn observe_for(time: Duration) {
    thread::sleep(time);
}

/// A `cat` of another process, with limits and descriptors of its own, that begins when it is told.
pub(crate) struct OtherCat(Killed);

impl OtherCat {
    pub(crate) fn of(path: &Path) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", "read -r word; cat \"$0\""]).arg(path);
        Self(Killed(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()))
    }

    /// Tells it to read, and returns what it read.
    pub(crate) fn read(mut self) -> String {
        let Child { stdin, stdout, .. } = &mut self.0.0;
        stdin.take().unwrap().write_all(b"go\n").unwrap();
        let stdout = stdout.take().unwrap();
        let text = within("the other cat", move || std::io::read_to_string(stdout).unwrap());
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
    assert_eq!(poll(&mut fds, timeout), Ok(1), "waited in vain for bytes");
}

/// Reads a pipe as a careful reader does: locks it first, and looks again when it was retired.
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

/// Reads a pipe as a careful reader does, but at most for a moment; returns nothing where there is nothing to read.
pub(crate) fn read_whole(path: &Path) -> String {
    let Ok(pipe) = open_nonblocking(path) else { return String::new() };
    // A writer that waits for a reader comes at once.
    let mut fds = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, PollTimeout::from(20_u8)) {
        // One is there, or was.
        Ok(1) => read_to_end(&pipe, || true),
        _ => String::new(),
    }
}

/// Reads to the end of the data. An end without any is one only if that is said of it: before a writer comes it looks the same.
fn read_to_end(mut pipe: &File, is_end: impl Fn() -> bool) -> String {
    let mut text = Vec::new();
    eventually("the end of a snapshot", || match pipe.read_to_end(&mut text) {
        Ok(_) => (!text.is_empty() || is_end()).then_some(()),
        Err(err) if err.kind() == ErrorKind::WouldBlock => None,
        Err(err) => panic!("{err}"),
    });
    String::from_utf8(text).unwrap()
}

/// Lists the names in a directory, sorted.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(name).collect();
    names.sort();
    names
}

/// Fills a registry until its text is larger than what a pipe holds at most, and returns that text.
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

/// Becomes an ordinary user for good, if the process is root: to be called in a process of its own.
pub(crate) fn become_ordinary() {
    become_user(65_534);
}

/// As [`become_ordinary`], a user that no other test is: for what a user's processes have together.
pub(crate) fn become_lone_user() {
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

/// Says whether this is the process that runs the test `name` alone; else starts that one and sees it succeed.
pub(crate) fn alone(name: &str) -> bool {
    if errand().is_some() {
        return true;
    }
    let status = start_alone(name, "none".as_ref()).wait();
    assert!(status.success(), "{name}: {status}");
    false
}

/// Returns what [`start_alone`] gave to this process; `None` in the one that runs all tests.
pub(crate) fn errand() -> Option<PathBuf> {
    env::var_os(ALONE).map(PathBuf::from)
}

/// A process that is killed when the test ends.
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the test `name` in a process of its own, with an errand and a pipe for its standard input.
pub(crate) fn start_alone(name: &str, errand: &Path) -> Killed {
    start_alone_by(&[], name, errand, Stdio::inherit())
}

/// As [`start_alone`], by another program that is given this one as its last arguments, and with this standard error.
pub(crate) fn start_alone_by(program: &[&str], name: &str, errand: &Path, stderr: Stdio) -> Killed {
    let us = env::current_exe().unwrap();
    let mut words = program.iter().map(OsStr::new).chain([us.as_os_str()]);
    let mut command = Command::new(words.next().unwrap());
    command
        .args(words)
        .args([name, "--exact", "--nocapture"])
        .env(ALONE, errand)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(stderr);
    Killed(command.spawn().unwrap())
}

/// Runs the test `name` in a process of its own, by another program where there are words for that, with an errand, and
/// returns what its recorders said.
pub(crate) fn said_by(program: &[&str], name: &str, errand: &Path) -> Vec<String> {
    let stderr = tempfile::NamedTempFile::new().unwrap();
    let status = start_alone_by(program, name, errand, stderr.reopen().unwrap().into()).wait();
    let said = fs::read_to_string(stderr.path()).unwrap();
    assert!(status.success(), "{status}: {said}");
    said.lines().filter(|line| line.starts_with("statvent: ")).map(str::to_owned).collect()
}

impl Killed {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Waits for the end. Where that does not come, the process is killed as the test fails; later than it says itself what it
    /// waits for in vain.
    pub(crate) fn wait(mut self) -> ExitStatus {
        eventually_within(DEADLINE * 2, "the process to end", || self.0.try_wait().unwrap())
    }

    /// Tells a process to end by itself, and waits until it did.
    pub(crate) fn end(mut self) {
        drop(self.0.stdin.take());
        let status = self.wait();
        assert!(status.success(), "{status}");
    }
}

/// What a process writes to its own standard error, which is a file that can be read: see [`said_by`].
pub(crate) struct OwnStderr(File);

impl OwnStderr {
    pub(crate) fn open() -> Self {
        Self(std::io::stderr().as_fd().try_clone_to_owned().unwrap().into())
    }

    /// Waits until the recorder has said that it cannot publish, and returns how often it said so.
    pub(crate) fn wait_until_told(&self) -> usize {
        eventually("a line on standard error", || Some(self.n_told()).filter(|n_told| *n_told > 0))
    }

    /// Returns how often the recorder has said that it cannot publish.
    pub(crate) fn n_told(&self) -> usize {
        let mut text = vec![0; 64 * 1024];
        let n_bytes = self.0.read_at(&mut text, 0).unwrap();
        String::from_utf8_lossy(&text[..n_bytes]).matches("it goes on trying: ").count()
    }
}

/// Removes a directory whose recorder may be putting a pipe there at the same time.
pub(crate) fn remove_all(dir: &Path) {
    eventually("the directory to be empty", || fs::remove_dir_all(dir).ok());
}

/// Returns once the tests tell this process to end.
pub(crate) fn until_told() {
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// Starts a test in a process that publishes `a: 1` in `dir`, and returns it with its pipe, which was read once.
pub(crate) fn start_publisher(name: &str, dir: &Path) -> (Killed, PathBuf) {
    let process = start_alone(name, dir);
    let pipe = dir.join(format!("{}.stats", process.pid()));
    eventually("the pipe", || pipe.exists().then_some(()));
    assert_eq!(locked_read(&pipe), "a: 1\n");
    (process, pipe)
}

/// Returns the directory of a thread of this process in `/proc`.
pub(crate) fn thread_named(name: &str) -> Option<PathBuf> {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let mut paths = threads.map(|thread| thread.unwrap().path());
    paths.find(|path| fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim_end() == name))
}

/// Returns once the recorder of this process sleeps in `open` of its pipe: it has the descriptor of its end by then.
pub(crate) fn until_it_waits_for_a_reader() {
    eventually("the recorder to wait for a reader", || {
        is_waiting_in_open(&thread_named("statvent-pipe")?).then_some(())
    });
}

/// Says whether a thread, given by its directory in `/proc`, is not running and in the middle of `open`.
pub(crate) fn is_waiting_in_open(thread: &Path) -> bool {
    let call = fs::read_to_string(thread.join("syscall")).unwrap_or_default();
    call.split(' ').next().and_then(|number| number.parse().ok()) == Some(libc::SYS_openat)
}

/// Returns how often the scheduler switched away from a thread, of its own will or not.
pub(crate) fn switches(thread: &Path) -> u64 {
    let status = fs::read_to_string(thread.join("status")).unwrap();
    let counts = status.lines().filter_map(|line| {
        let (name, count) = line.split_once(':')?;
        name.ends_with("voluntary_ctxt_switches").then(|| count.trim().parse::<u64>().unwrap())
    });
    counts.sum()
}

/// Prints why a test is not run; where it has to run, that is a failure.
pub(crate) fn skip(why: &str) {
    assert!(env::var_os("STATVENT_TEST_ALL").is_none(), "cannot run here: {why}");
    eprintln!("skipped: {why}");
}
