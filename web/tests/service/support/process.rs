//! The binary as a process.

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

/// The user `nobody`, by number, so that it need not have a name.
pub(crate) const ORDINARY_USER: u32 = 65_534;

/// The arguments of a service on a free port.
pub(crate) fn serving(pipe_dir: &Path, deadline: Duration) -> [String; 6] {
    let (dir, deadline) = (pipe_dir.to_str().unwrap().to_owned(), format!("{}ms", deadline.as_millis()));
    ["-p".into(), "0".into(), "--deadline".into(), deadline, "-d".into(), dir]
}

/// A running binary, killed when dropped.
pub(crate) struct Program {
    child: Child,
    lines: Receiver<String>,
}

impl Program {
    /// The binary that this package builds.
    pub(crate) fn path() -> &'static Path {
        Path::new(env!("CARGO_BIN_EXE_statvent-web"))
    }

    /// Starts a service for this directory; each process has so much time to answer.
    pub(crate) fn serve(pipe_dir: &Path, deadline: Duration) -> Self {
        Self::start(serving(pipe_dir, deadline))
    }

    /// Starts it with these arguments; what it says on standard error can be read.
    pub(crate) fn start<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Self {
        Self::spawn(Command::new(Self::path()).args(args).stderr(Stdio::piped()).stdout(Stdio::null()))
    }

    /// Starts such a service as an ordinary user, which this user is, or [`ORDINARY_USER`] where this is root.
    pub(crate) fn serve_ordinary(pipe_dir: &Path, deadline: Duration) -> Self {
        // The copy of the binary may go once it runs.
        let (mut command, _place) = Self::ordinary();
        Self::spawn(command.args(serving(pipe_dir, deadline)).stderr(Stdio::piped()).stdout(Stdio::null()))
    }

    /// Starts one process of the demo as an ordinary user, and waits until it publishes.
    pub(crate) fn start_ordinary_worker(pipe_dir: &Path) -> Self {
        let (mut command, _place) = Self::ordinary();
        command
            .args(["demo-worker", "--pipe-dir"])
            .arg(pipe_dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let worker = Self::spawn(&mut command);
        worker.line("the path of its pipe");
        worker
    }

    fn ordinary() -> (Command, TempDir) {
        // A copy, because an ordinary user may not reach the folder that the binary was built in.
        let place = pipe_dir();
        let path = place.path().join("statvent-web");
        fs::copy(Self::path(), &path).unwrap();
        set_mode(&path, 0o755);
        let mut command = Command::new(path);
        if Uid::effective().is_root() {
            chown(place.path(), Some(ORDINARY_USER), None).unwrap();
            command.uid(ORDINARY_USER).gid(ORDINARY_USER).current_dir("/");
        }
        (command, place)
    }

    /// Starts one process of the demo, which publishes; returns the path of its pipe as well.
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
        // While another test starts a program, that one holds what this one has just written.
        eventually("the program to start", || {
            let spawned = command.spawn();
            let is_busy = spawned.as_ref().is_err_and(|err| err.kind() == ErrorKind::ExecutableFileBusy);
            started = (!is_busy).then_some(spawned);
            started.is_some()
        });
        let mut child = started.unwrap().unwrap();
        let (said, lines) = channel();
        let stdout = child.stdout.take().map(|out| Box::new(out) as Box<dyn std::io::Read + Send>);
        let stderr = child.stderr.take().map(|err| Box::new(err) as Box<dyn std::io::Read + Send>);
        let output = stderr.or(stdout).unwrap();
        spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| said.send(line))
        });
        Self { child, lines }
    }

    /// Waits for the next line it says.
    pub(crate) fn line(&self, what: &str) -> String {
        self.lines.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("waited for: {what}"))
    }

    /// Waits for a line that it says, whatever it says before.
    pub(crate) fn line_that(&self, does: &str, is_it: impl Fn(&str) -> bool) -> String {
        std::iter::repeat_with(|| self.line(does)).find(|line| is_it(line)).unwrap()
    }

    /// What it has said by now that was not read yet.
    pub(crate) fn lines_so_far(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// Waits until it says nothing more, and returns what it said that was not read yet.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        std::iter::from_fn(|| match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("waited for: the end of what it says"),
        })
        .collect()
    }

    /// Waits until it serves.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.address().unwrap_or_else(|line| panic!("{line}")))
    }

    /// Waits until it serves, and returns where; or what it says instead.
    pub(crate) fn address(&self) -> Result<SocketAddr, String> {
        let line = self.line("listening on");
        let address = line.strip_prefix("listening on http://").map(|address| address.parse().unwrap());
        address.ok_or(line)
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Limits its descriptors while it runs.
    pub(crate) fn limit_descriptors(&self, limit: usize) {
        let (pid, limit) = (self.pid().to_string(), format!("--nofile={limit}:"));
        let status = Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap();
        assert!(status.success(), "{status}");
    }

    /// How many descriptors it has open.
    pub(crate) fn n_descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// The most memory that it ever had, and has now, in kB.
    pub(crate) fn memory_kb(&self) -> [u64; 2] {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        ["VmHWM:", "VmRSS:"].map(|key| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            line.trim_end_matches("kB").trim().parse().unwrap()
        })
    }

    /// What it is doing, as a letter: `Z` for a zombie.
    pub(crate) fn state(&self) -> char {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
    }

    /// How long it has kept a processor busy.
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        // `utime` and `stime`, the 14th and 15th field, in hundredths of a second.
        let n_ticks: u64 =
            fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        Duration::from_millis(10 * n_ticks)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Stops it and waits until it is stopped.
    pub(crate) fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        let status = waitpid(self.pid(), Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert_eq!(status, WaitStatus::Stopped(self.pid(), Signal::SIGSTOP));
    }

    /// Waits until it ends.
    pub(crate) fn end(mut self) -> ExitStatus {
        let mut status = None;
        eventually("the program to end", || {
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
