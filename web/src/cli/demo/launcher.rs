//! Launcher of the demo's processes: owns them and their directory, from start to end.
//!
//! A process of the demo ends when its standard input does, so it never outlives this process. What it does is in `worker`.

use std::env::current_exe;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::{io, iter, thread};

use statvent_posix::PipeDir;
use tempfile::TempDir;

use super::worker::{DEMO_WORKER, REMOVE_DIR_OPTION};
use crate::cli::error::RunError;
use crate::cli::limits::{DEMO_END_DEADLINE, DEMO_START_DEADLINE};

/// A running demo. Dropping it ends its processes and removes its temporary directory.
pub(crate) struct Demo {
    /// The directory in which the processes publish.
    pub(crate) pipe_dir: PathBuf,
    /// The pipe of one of them.
    pub(crate) pipe_path: PathBuf,
    workers: Vec<Child>,
    /// The pipe's path from each worker, or `None` if it ended without one. Disconnected once all workers have ended.
    pipe_paths: Receiver<Option<String>>,
    /// The last field, so that it is removed after all workers have ended.
    temp: Option<TempDir>,
}

impl Demo {
    /// Starts `n_workers` processes and waits until all publish, in `pipe_dir` or in a temporary directory.
    pub(crate) fn start(n_workers: u16, pipe_dir: Option<PathBuf>) -> Result<Self, RunError> {
        let (pipe_dir, temp) = match pipe_dir {
            Some(pipe_dir) => {
                // Check it here: one message instead of one from each process.
                PipeDir::create(&pipe_dir)?;
                (pipe_dir, None)
            }
            None => {
                let temp = TempDir::with_prefix("statvent-demo-").map_err(RunError::DemoTempDirectory)?;
                (temp.path().to_owned(), Some(temp))
            }
        };
        let (sender, pipe_paths) = channel();
        let mut demo = Self { pipe_dir, pipe_path: PathBuf::new(), workers: Vec::new(), pipe_paths, temp };
        for sender in iter::repeat_n(sender, n_workers.into()) {
            demo.start_worker(sender).map_err(RunError::DemoWorkerSpawn)?;
        }
        for _ in 0..n_workers {
            demo.pipe_path = received_path(demo.pipe_paths.recv_timeout(DEMO_START_DEADLINE))?;
        }
        Ok(demo)
    }

    fn start_worker(&mut self, sender: Sender<Option<String>>) -> io::Result<()> {
        let mut worker = Command::new(current_exe()?)
            .args([DEMO_WORKER.name, "--pipe-dir"])
            .arg(&self.pipe_dir)
            .args(self.temp.as_ref().map(|_| REMOVE_DIR_OPTION))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A process group of its own: Ctrl-C in a terminal reaches only this process, which then ends the workers.
            .process_group(0)
            .spawn()?;
        let stdout = worker.stdout.take();
        self.workers.push(worker);
        thread::spawn(move || {
            let mut lines =
                stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines().map_while(Result::ok));
            let _ = sender.send(lines.next());
            // Read until the worker ends, and drop the sender then.
            lines.for_each(drop);
        });
        Ok(())
    }
}

/// Returns the path that a worker sent.
fn received_path(received: Result<Option<String>, RecvTimeoutError>) -> Result<PathBuf, RunError> {
    match received {
        Ok(Some(path)) => Ok(path.into()),
        Ok(None) => Err(RunError::DemoWorkerEnded),
        Err(_) => Err(RunError::DemoWorkerTimedOut { deadline: DEMO_START_DEADLINE }),
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            drop(worker.stdin.take());
        }
        // After a failed start some paths may be left. The error means that all have ended or that time is up.
        while self.pipe_paths.recv_timeout(DEMO_END_DEADLINE).is_ok() {}
        for worker in &mut self.workers {
            // Fails if the worker has ended, as it should have.
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_without_a_pipe_is_an_error() {
        assert_eq!(received_path(Ok(Some("/d/1.stats".into()))).unwrap(), PathBuf::from("/d/1.stats"));
        assert!(matches!(received_path(Ok(None)), Err(RunError::DemoWorkerEnded)));
        let late = received_path(Err(RecvTimeoutError::Timeout));
        assert!(matches!(late, Err(RunError::DemoWorkerTimedOut { deadline: DEMO_START_DEADLINE })));
    }

    #[test]
    fn an_unusable_directory_is_reported_before_any_process_starts() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("file");
        std::fs::write(&file, "").unwrap();
        let Err(err) = Demo::start(1, Some(file)) else { panic!("expected an error") };
        assert!(matches!(err, RunError::DemoDirectory(_)), "{err}");
    }
}
