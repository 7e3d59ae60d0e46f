//! Child processes: the service, demo workers, and the state of a process.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::spawn;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, Uid};
use tempfile::TempDir;

use super::{Client, DEADLINE, eventually, pipe_dir, set_mode};

/// An ordinary user, by number: it needs no entry in `/etc/passwd`.
pub(crate) const UNPRIVILEGED_UID: u32 = 65_534;

/// Returns the arguments of a service on a free port.
pub(crate) fn serve_args(pipe_dir: &Path, deadline: Duration) -> [String; 6] {
    let (dir, deadline) = (pipe_dir.to_str().unwrap().to_owned(), format!("{}ms", deadline.as_millis()));
    ["-p".into(), "0".into(), "--deadline".into(), deadline, "-d".into(), dir]
}

/// A child process, killed when dropped.
pub(crate) struct Program {
    child: Child,
    lines: Receiver<String>,
}

impl Program {
    /// Returns the binary that this package builds.
    pub(crate) fn path() -> &'static Path {
        Path::new(env!("CARGO_BIN_EXE_statvent-web"))
    }

    /// Starts a service for this directory, with a process deadline.
    pub(crate) fn serve(pipe_dir: &Path, deadline: Duration) -> Self {
        Self::start(serve_args(pipe_dir, deadline))
    }

    /// Starts the binary with these arguments; its standard error is read line by line.
    pub(crate) fn start<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Self {
        Self::spawn(Command::new(Self::path()).args(args).stderr(Stdio::piped()).stdout(Stdio::null()))
    }

    /// Starts a service as an ordinary user: as [`UNPRIVILEGED_UID`] if the test runs as root.
    pub(crate) fn serve_unprivileged(pipe_dir: &Path, deadline: Duration) -> Self {
        // The copy of the binary can be removed once it runs.
        let (mut command, _dir) = Self::unprivileged();
        Self::spawn(command.args(serve_args(pipe_dir, deadline)).stderr(Stdio::piped()).stdout(Stdio::null()))
    }

    /// Starts one demo worker as an ordinary user and waits until it publishes.
    pub(crate) fn start_unprivileged_worker(pipe_dir: &Path) -> Self {
        let (mut command, _dir) = Self::unprivileged();
        command
            .args(["demo-worker", "--pipe-dir"])
            .arg(pipe_dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let worker = Self::spawn(&mut command);
        worker.line("the path of its pipe");
        worker
    }

    fn unprivileged() -> (Command, TempDir) {
        // A copy: an ordinary user may have no access to the build directory.
        let dir = pipe_dir();
        let path = dir.path().join("statvent-web");
        fs::copy(Self::path(), &path).unwrap();
        set_mode(&path, 0o755);
        let mut command = Command::new(path);
        if Uid::effective().is_root() {
            chown(dir.path(), Some(UNPRIVILEGED_UID), None).unwrap();
            command.uid(UNPRIVILEGED_UID).gid(UNPRIVILEGED_UID).current_dir("/");
        }
        (command, dir)
    }

    /// Starts one demo worker and waits until it publishes; returns the path of its pipe as well.
    pub(crate) fn start_worker(pipe_dir: &Path) -> (Self, PathBuf) {
        let mut command = Command::new(Self::path());
        command
            .args(["demo-worker", "--pipe-dir"])
            .arg(pipe_dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let worker = Self::spawn(&mut command);
        let path = worker.line("the path of its pipe").into();
        (worker, path)
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut started = None;
        // A child that another test has just forked may still hold the fresh copy open for writing (ETXTBSY).
        eventually("the process to start", || {
            let spawned = command.spawn();
            let is_busy = spawned.as_ref().is_err_and(|err| err.kind() == ErrorKind::ExecutableFileBusy);
            started = (!is_busy).then_some(spawned);
            started.is_some()
        });
        let mut child = started.unwrap().unwrap();
        let (lines_tx, lines) = channel();
        let stdout = child.stdout.take().map(|out| Box::new(out) as Box<dyn std::io::Read + Send>);
        let stderr = child.stderr.take().map(|err| Box::new(err) as Box<dyn std::io::Read + Send>);
        let output = stderr.or(stdout).unwrap();
        spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| lines_tx.send(line))
        });
        Self { child, lines }
    }

    /// Waits for the next line that the process prints.
    pub(crate) fn line(&self, what: &str) -> String {
        self.lines.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("waited for: {what}"))
    }

    /// Waits for the first line that matches; drops those before it.
    pub(crate) fn line_matching(&self, what: &str, is_match: impl Fn(&str) -> bool) -> String {
        std::iter::repeat_with(|| self.line(what)).find(|line| is_match(line)).unwrap()
    }

    /// Returns the lines printed so far that were not read yet.
    pub(crate) fn new_lines(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// Waits for the end of the output and returns the lines that were not read yet.
    pub(crate) fn remaining_lines(&self) -> Vec<String> {
        std::iter::from_fn(|| match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("waited for: the end of the output"),
        })
        .collect()
    }

    /// Waits until the service listens, and returns a client of it.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.address().unwrap_or_else(|line| panic!("{line}")))
    }

    /// Waits until the service listens, and returns its address; or the line that it prints instead.
    pub(crate) fn address(&self) -> Result<SocketAddr, String> {
        let line = self.line("listening on");
        let address = line.strip_prefix("listening on http://").map(|address| address.parse().unwrap());
        address.ok_or(line)
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Sets the descriptor limit of the running process.
    pub(crate) fn limit_descriptors(&self, limit: usize) {
        let (pid, limit) = (self.pid().to_string(), format!("--nofile={limit}:"));
        let status = Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap();
        assert!(status.success(), "{status}");
    }

    /// Waits until the recorder of the running process sleeps in `open`, where its descriptor for the next reader is reserved.
    pub(crate) fn wait_until_recorder_sleeps(&self) {
        let threads = format!("/proc/{}/task", self.pid());
        let read = |thread: &Path, file| fs::read_to_string(thread.join(file)).unwrap_or_default();
        eventually("the recorder to sleep in open", || {
            fs::read_dir(&threads).unwrap().map(|entry| entry.unwrap().path()).any(|thread| {
                let call = read(&thread, "syscall");
                read(&thread, "comm").trim() == "statvent-pipe"
                    && call.split(' ').next() == Some(&nix::libc::SYS_openat.to_string())
            })
        });
    }

    /// Returns the number of open descriptors.
    pub(crate) fn n_descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Returns the resident memory, `[peak, now]`, in kB.
    pub(crate) fn memory_kb(&self) -> [u64; 2] {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        ["VmHWM:", "VmRSS:"].map(|key| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            line.trim_end_matches("kB").trim().parse().unwrap()
        })
    }

    /// Returns the state letter of `/proc/<pid>/stat`: `Z` for a zombie.
    pub(crate) fn state(&self) -> char {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
    }

    /// Returns the processor time used so far.
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        // `utime` and `stime`, fields 14 and 15, in ticks of 10 ms.
        let n_ticks: u64 =
            fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        Duration::from_millis(10 * n_ticks)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Sends SIGSTOP and waits until the process is stopped.
    pub(crate) fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        let status = waitpid(self.pid(), Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert_eq!(status, WaitStatus::Stopped(self.pid(), Signal::SIGSTOP));
    }

    /// Waits until the process exits.
    pub(crate) fn wait(mut self) -> ExitStatus {
        let mut status = None;
        eventually("the process to exit", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
