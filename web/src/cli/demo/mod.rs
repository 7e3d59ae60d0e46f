//! The demo: small processes with stats, to look at the service before there is anything to serve.
//!
//! Owns the processes and their directory, from start to end. It serves nothing; what a process does is in `worker`. A
//! process ends when its standard input does, and that is when this process ends.

pub(crate) mod worker;

use std::env::current_exe;
use std::error::Error;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;
use std::{io, iter, thread};

use statvent_posix::dir::PipeDir;
use tempfile::TempDir;

use worker::DEMO_WORKER;

const START_DEADLINE: Duration = Duration::from_secs(60);
const END_DEADLINE: Duration = Duration::from_secs(10);

/// A running demo; ends its processes and removes its directory when dropped.
pub(crate) struct Demo {
    /// The directory in which the processes publish.
    pub(crate) pipe_dir: PathBuf,
    /// The pipe of one of them.
    pub(crate) pipe_path: PathBuf,
    workers: Vec<Child>,
    /// The path of each worker's pipe, or `None` if it ended before; disconnected once all have ended.
    pipe_paths: Receiver<Option<String>>,
    /// Removed last, when no process publishes there.
    temp: Option<TempDir>,
}

impl Demo {
    /// Starts so many processes that publish in a directory, a temporary one unless given, and waits until they do.
    pub(crate) fn start(n_workers: u16, pipe_dir: Option<PathBuf>) -> Result<Self, Box<dyn Error>> {
        let (pipe_dir, temp) = match pipe_dir {
            Some(pipe_dir) => {
                // One message about it, and not one of each process.
                PipeDir::create(&pipe_dir)?;
                (pipe_dir, None)
            }
            None => {
                let temp = TempDir::with_prefix("statvent-demo-").map_err(|err| {
                    format!("no temporary directory for the demo: {err}: name one with --pipe-dir")
                })?;
                (temp.path().to_owned(), Some(temp))
            }
        };
        let (sender, pipe_paths) = channel();
        let mut demo = Self { pipe_dir, pipe_path: PathBuf::new(), workers: Vec::new(), pipe_paths, temp };
        for sender in iter::repeat_n(sender, n_workers.into()) {
            demo.start_worker(sender)
                .map_err(|err| format!("a process of the demo does not start: {err}"))?;
        }
        for _ in 0..n_workers {
            demo.pipe_path = path_in(demo.pipe_paths.recv_timeout(START_DEADLINE))?;
        }
        Ok(demo)
    }

    fn start_worker(&mut self, sender: Sender<Option<String>>) -> io::Result<()> {
        let mut worker = Command::new(current_exe()?)
            .args([DEMO_WORKER.name, "--pipe-dir"])
            .arg(&self.pipe_dir)
            .args(self.temp.as_ref().map(|_| worker::REMOVE_DIR))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Of a group of its own, so that Ctrl-C in a terminal reaches this process only, which ends them in order.
            .process_group(0)
            .spawn()?;
        let stdout = worker.stdout.take();
        self.workers.push(worker);
        thread::spawn(move || {
            let mut lines =
                stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines().map_while(Result::ok));
            let _ = sender.send(lines.next());
            // Until the worker ends; then the sender is dropped.
            lines.for_each(drop);
        });
        Ok(())
    }
}

/// The path in what a worker sent.
fn path_in(received: Result<Option<String>, RecvTimeoutError>) -> Result<PathBuf, &'static str> {
    match received {
        Ok(Some(path)) => Ok(path.into()),
        Ok(None) => Err("a process of the demo ended before it published: see its message above"),
        Err(_) => {
            Err("a process of the demo did not publish within 60 s: start fewer of them, with --demo N")
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            drop(worker.stdin.take());
        }
        // Paths that are left after a failed start, then an error: all have ended, or time is up.
        while self.pipe_paths.recv_timeout(END_DEADLINE).is_ok() {}
        for worker in &mut self.workers {
            // It has ended, or is killed now.
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statvent_posix::dir::DirError;

    #[test]
    fn messages_say_what_to_do() {
        assert_eq!(path_in(Ok(Some("/d/1.stats".into()))), Ok("/d/1.stats".into()));
        let ended = "a process of the demo ended before it published: see its message above";
        assert_eq!(path_in(Ok(None)), Err(ended));
        let late = format!(
            "a process of the demo did not publish within {} s: start fewer of them, with --demo N",
            START_DEADLINE.as_secs()
        );
        assert_eq!(path_in(Err(RecvTimeoutError::Timeout)), Err(&*late));
    }

    #[test]
    fn a_directory_that_cannot_be_used_is_told_before_anything_starts() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("file");
        std::fs::write(&file, "").unwrap();
        let Err(err) = Demo::start(1, Some(file)) else { panic!("expected an error") };
        assert!(err.is::<DirError>(), "{err}");
    }
}
