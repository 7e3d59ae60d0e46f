//! Builder of a recorder: its options, its defaults and its start.
//!
//! Owns the order in which the parts of a recorder start, and the thread of the health check. What a health check repairs is
//! defined in `endpoint`.

use crate::dir::{PipeDir, resolve};
use crate::error::Error;
use crate::limits::{DEFAULT_HEALTH_CHECK_INTERVAL, DEFAULT_WRITE_DEADLINE, MIN_HEALTH_CHECK_INTERVAL};
use crate::process::cleanup_table::CleanupSlot;
use crate::process::exit::close_at_exit;
use crate::process::fork::reset_on_fork;
use crate::process::signals::{install_handlers, signals_are_fatal};
use crate::recorder::endpoint::Endpoint;
use crate::recorder::handle::Recorder;
use crate::recorder::pipe_slot::EndpointConfig;
use crate::recorder::serve_loop::{ReaderCounts, ServeLoop};
use crate::sys::shutdown::ShutdownEvent;
use statvent_core::Reader;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The options of a [`Recorder`], each with a default.
#[derive(Clone, Debug)]
#[must_use = "nothing is published before `start`"]
pub struct RecorderBuilder {
    registry: Reader<'static>,
    directory: Option<PathBuf>,
    label: Option<String>,
    write_deadline: Duration,
    health_check_interval: Option<Duration>,
    cleans_up_at_signals: bool,
}

impl Recorder {
    /// Returns a builder for a recorder of a registry, which must live as long as the program.
    pub fn builder(registry: impl Into<Reader<'static>>) -> RecorderBuilder {
        RecorderBuilder {
            registry: registry.into(),
            directory: None,
            label: None,
            write_deadline: DEFAULT_WRITE_DEADLINE,
            health_check_interval: Some(DEFAULT_HEALTH_CHECK_INTERVAL),
            cleans_up_at_signals: true,
        }
    }
}

impl RecorderBuilder {
    /// Sets the directory of the pipe, which is created if it is missing. The default is [`PipeDir::default_path`]. A relative
    /// path is resolved against the working directory at the start.
    pub fn directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.directory = Some(path.into());
        self
    }

    /// Puts a label before the pid in the pipe's name: 1 to 64 ASCII letters, digits, `_` and `-`. The default is no label.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Sets after how long a reader that does not make room for a whole snapshot is abandoned. The default is 1 s.
    ///
    /// It applies only to snapshots larger than the pipe. Smaller ones are written without waiting.
    pub fn write_deadline(mut self, deadline: Duration) -> Self {
        self.write_deadline = deadline;
        self
    }

    /// Sets how often to check that readers find the pipe, and to repair it. The default is 10 s. An interval below 100 ms is
    /// raised to 100 ms.
    ///
    /// Each check wakes a thread for a few system calls: at 100 ms, ten times a second for as long as the program runs. A
    /// failed repair is retried at least as often, and at least every 10 s.
    pub fn health_check_interval(mut self, interval: Duration) -> Self {
        self.health_check_interval = Some(interval.max(MIN_HEALTH_CHECK_INTERVAL));
        self
    }

    /// Disables the health check and its thread.
    ///
    /// A pipe that another process removes is then replaced only after a reader that still finds the old one. A reader that is
    /// stranded on a retired pipe is released only after 32 later reads, or at the end.
    pub fn without_health_check(mut self) -> Self {
        self.health_check_interval = None;
        self
    }

    /// Installs no handlers for SIGTERM and SIGINT. If one of them ends the process, the pipe stays until a sweeper removes it.
    ///
    /// By default, if a signal has its default action, a handler removes the pipe and then lets the signal end the process. A
    /// program that handles or ignores the signal is not affected, whether it does so before or after the recorder starts.
    pub fn without_signal_cleanup(mut self) -> Self {
        self.cleans_up_at_signals = false;
        self
    }

    /// Publishes the pipe and starts the threads that serve it.
    ///
    /// When it returns, readers find the pipe. The threads block all signals, so that the program's own threads handle them.
    ///
    /// # Errors
    /// See [`Error`]. No pipe and no thread is left behind then.
    ///
    /// ```
    /// use statvent_core::Registry;
    /// use statvent_posix::Recorder;
    ///
    /// static STATS: Registry<64, 8, 4096> = Registry::new();
    ///
    /// # let temp = tempfile::tempdir()?;
    /// # let directory = temp.path();
    /// STATS.incr("requests", 1);
    /// let recorder = Recorder::builder(&STATS).directory(directory).start()?;
    /// assert_eq!(std::fs::read_to_string(recorder.path())?, "requests: 1\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start(self) -> Result<Recorder, Error> {
        reset_on_fork(self.registry);
        let directory = resolve(&self.directory.unwrap_or_else(PipeDir::default_path))?;
        let cleans_up = self.cleans_up_at_signals && signals_are_fatal();
        let cleanup_slot = cleans_up.then(CleanupSlot::acquire).flatten();
        let config = EndpointConfig { directory, label: self.label };
        let endpoint = Arc::new(Endpoint::publish(config, cleanup_slot)?);
        close_at_exit(&endpoint);
        if cleans_up {
            install_handlers();
        }
        let shutdown = Arc::new(ShutdownEvent::default());
        let serve_loop = ServeLoop {
            registry: self.registry,
            endpoint: Arc::clone(&endpoint),
            shutdown: Arc::clone(&shutdown),
            write_deadline: self.write_deadline,
            max_delay: self.health_check_interval.unwrap_or(DEFAULT_HEALTH_CHECK_INTERVAL),
            counts: Arc::new(ReaderCounts::default()),
        };
        // If a spawn fails, dropping the handle cleans up.
        let mut recorder = Recorder {
            endpoint: Arc::clone(&endpoint),
            shutdown: Arc::clone(&shutdown),
            counts: Arc::clone(&serve_loop.counts),
            threads: Vec::new(),
        };
        recorder.spawn("statvent-pipe", move || serve_loop.run())?;
        if let Some(interval) = self.health_check_interval {
            recorder.spawn("statvent-health", move || {
                while !shutdown.wait(interval) {
                    endpoint.health_check();
                }
            })?;
        }
        Ok(recorder)
    }
}
