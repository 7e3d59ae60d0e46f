//! The binary as a process.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::spawn;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::{Client, DEADLINE, eventually};

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

    /// Starts it with these arguments; what it says on standard error can be read.
    pub(crate) fn start<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Self {
        Self::spawn(Command::new(Self::path()).args(args).stderr(Stdio::piped()).stdout(Stdio::null()))
    }

    /// Starts one process of the demo, which publishes; returns the path of its pipe as well.
    pub(crate) fn start_worker(pipe_dir: &Path) -> (Self, PathBuf) {
        let mut command = Command::new(Self::path());
        command.arg("--demo-worker").arg(pipe_dir).stdin(Stdio::piped()).stdout(Stdio::piped());
        let worker = Self::spawn(&mut command);
        let path = worker.line("the path of its pipe").into();
        (worker, path)
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
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
        let line = self.line("listening on");
        let address = line.strip_prefix("listening on http://").unwrap_or_else(|| panic!("{line}"));
        Client::new(address.parse::<SocketAddr>().unwrap())
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
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
