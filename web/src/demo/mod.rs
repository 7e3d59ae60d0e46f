//! The demo: small processes with stats, to look at the service before there is anything to serve.
//!
//! Owns the processes and their directory, from start to end. It serves nothing (see `main`, which calls it); what a
//! process does is in `worker`. A process ends when its standard input does, and that is when this process ends.

pub(crate) mod worker;

use std::env::current_exe;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};
use std::{fmt, io};

use statvent_posix::dir::{DirError, PipeDir};
use tempfile::TempDir;

use crate::args::{DEMO_WORKER, DEMO_WORKER_IN_TEMP};

const START_DEADLINE: Duration = Duration::from_secs(10);
const END_DEADLINE: Duration = Duration::from_secs(2);
const END_PAUSE: Duration = Duration::from_millis(5);

/// Why there is no demo.
#[derive(Debug)]
#[non_exhaustive]
pub(crate) enum DemoError {
    /// The system gives no temporary directory for it.
    Temporary(io::Error),
    /// The directory cannot be published in.
    Directory(DirError),
    /// The system starts no process.
    Start(io::Error),
    /// A process ended before it published; its own message stands on standard error.
    Ended,
    /// A process did not publish in time.
    Late,
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Temporary(err) => {
                write!(f, "no temporary directory for the demo: {err}: name one with --pipe-dir")
            }
            Self::Directory(err) => err.fmt(f),
            Self::Start(err) => write!(f, "a process of the demo does not start: {err}"),
            Self::Ended => {
                f.write_str("a process of the demo ended before it published: see its message above")
            }
            Self::Late => write!(
                f,
                "a process of the demo did not publish within {} s: start fewer of them, with --demo N",
                START_DEADLINE.as_secs()
            ),
        }
    }
}

impl core::error::Error for DemoError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            // Its sentence is ours, so its cause is ours too.
            Self::Directory(err) => err.source(),
            _ => None,
        }
    }
}

/// A running demo; ends its processes and removes its directory when dropped.
pub(crate) struct Demo {
    workers: Vec<Child>,
    pipe_dir: PathBuf,
    pipe_path: PathBuf,
    /// Removed last, when nobody publishes there.
    _temp: Option<TempDir>,
}

impl Demo {
    /// Starts so many processes that publish in a directory, a temporary one unless given, and waits until they do.
    pub(crate) fn start(n_workers: u16, pipe_dir: Option<PathBuf>) -> Result<Self, DemoError> {
        let (pipe_dir, temp) = match pipe_dir {
            Some(pipe_dir) => {
                // Said once here, and not by each process.
                PipeDir::create(&pipe_dir).map_err(DemoError::Directory)?;
                (pipe_dir, None)
            }
            None => {
                let temp = tempfile::Builder::new().prefix("statvent-demo-").tempdir();
                let temp = temp.map_err(DemoError::Temporary)?;
                (temp.path().to_owned(), Some(temp))
            }
        };
        let role = if temp.is_some() { DEMO_WORKER_IN_TEMP } else { DEMO_WORKER };
        let mut demo = Self { workers: Vec::new(), pipe_dir, pipe_path: PathBuf::new(), _temp: temp };
        let (say, said) = channel();
        for _ in 0..n_workers {
            let mut worker = spawn(role, &demo.pipe_dir).map_err(DemoError::Start)?;
            let stdout = worker.stdout.take();
            demo.workers.push(worker);
            let say = say.clone();
            // Ends with the worker, which says one line at most.
            thread::spawn(move || {
                let line = stdout.and_then(|stdout| BufReader::new(stdout).lines().next()?.ok());
                say.send(line)
            });
        }
        for _ in 0..n_workers {
            demo.pipe_path = wait_for_path(&said)?;
        }
        Ok(demo)
    }

    /// The directory in which the processes publish.
    pub(crate) fn pipe_dir(&self) -> &Path {
        &self.pipe_dir
    }

    /// The pipe of one of them.
    pub(crate) fn pipe_path(&self) -> &Path {
        &self.pipe_path
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            drop(worker.stdin.take());
        }
        let until = Instant::now() + END_DEADLINE;
        for worker in &mut self.workers {
            while let Ok(None) = worker.try_wait() {
                if Instant::now() >= until {
                    // It has ended meanwhile, or cannot be waited for: nothing is left to do in either case.
                    let _ = worker.kill();
                    let _ = worker.wait();
                    break;
                }
                thread::sleep(END_PAUSE);
            }
        }
    }
}

fn spawn(role: &str, pipe_dir: &Path) -> io::Result<Child> {
    Command::new(current_exe()?)
        .arg(format!("--{role}"))
        .arg(pipe_dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // Of a group of its own, so that Ctrl-C in a terminal reaches this process alone, which ends them in order.
        .process_group(0)
        .spawn()
}

/// Waits until a process says the path of its pipe.
fn wait_for_path(said: &Receiver<Option<String>>) -> Result<PathBuf, DemoError> {
    match said.recv_timeout(START_DEADLINE) {
        Ok(Some(path)) => Ok(path.into()),
        Ok(None) => Err(DemoError::Ended),
        Err(_) => Err(DemoError::Late),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_to_do() {
        let err = || io::Error::from_raw_os_error(28);
        for (error, message) in [
            (
                DemoError::Temporary(err()),
                "no temporary directory for the demo: No space left on device (os error 28): name one with --pipe-dir",
            ),
            (
                DemoError::Start(err()),
                "a process of the demo does not start: No space left on device (os error 28)",
            ),
            (DemoError::Ended, "a process of the demo ended before it published: see its message above"),
            (
                DemoError::Late,
                "a process of the demo did not publish within 10 s: start fewer of them, with --demo N",
            ),
        ] {
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn a_directory_that_cannot_be_used_is_told_before_anything_starts() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(matches!(Demo::start(1, Some(file)), Err(DemoError::Directory(_))));
    }
}
