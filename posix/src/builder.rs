//! How a recorder is set up and started.
//!
//! Owns the choices and their defaults, the order in which a recorder comes to life, and the interval of its upkeep. What is
//! repaired, and how, is in `publication`; the thread that serves readers is in `recorder`.

use crate::dir::{PipeDir, resolve};
use crate::error::Error;
use crate::exit::withdraw_at_exit;
use crate::fork::follow_forks;
use crate::handle::Recorder;
use crate::publication::Publication;
use crate::recorder::{Counts, Recording};
use crate::signals::{can_end_us, clean_up_where_default};
use crate::site::Place;
use crate::stop::Stop;
use crate::traces::Trace;
use statvent_core::Reader;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The choices for a [`Recorder`], each with a default.
#[derive(Clone, Debug)]
#[must_use = "nothing is published before `start`"]
pub struct RecorderBuilder {
    registry: Reader<'static>,
    directory: Option<PathBuf>,
    label: Option<String>,
    write_deadline: Duration,
    upkeep_interval: Option<Duration>,
    cleans_up_at_signals: bool,
}

const UPKEEP_INTERVAL: Duration = Duration::from_secs(10);

/// Ten wake-ups a second: more are not worth it for a pipe that is hardly ever taken away.
const MIN_UPKEEP_INTERVAL: Duration = Duration::from_millis(100);

impl RecorderBuilder {
    pub(crate) fn new(registry: Reader<'static>) -> Self {
        Self {
            registry,
            directory: None,
            label: None,
            write_deadline: Duration::from_secs(1),
            upkeep_interval: Some(UPKEEP_INTERVAL),
            cleans_up_at_signals: true,
        }
    }

    /// Publishes in this directory, which is made if it is missing; unless given, in
    /// [`PipeDir::default_path`]. A relative path counts from the working directory at the start.
    pub fn directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.directory = Some(path.into());
        self
    }

    /// Puts a label before the pid in the pipe's name: 1 to 64 ASCII letters, digits, `_` and `-`.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Gives up a reader that has not made room for a whole snapshot after so long; unless given, 1 s.
    ///
    /// Matters to snapshots larger than the pipe alone: others are written without waiting.
    pub fn write_deadline(mut self, deadline: Duration) -> Self {
        self.write_deadline = deadline;
        self
    }

    /// Checks so often whether readers still find the pipe, and repairs it; unless given, every 10 s. An interval below 100 ms
    /// is raised to 100 ms.
    ///
    /// Each check wakes a thread for a few system calls: at 100 ms ten times a second, for as long as the program runs. What
    /// cannot be repaired at once is tried again at least as often, and at least every 10 s.
    pub fn upkeep_interval(mut self, interval: Duration) -> Self {
        self.upkeep_interval = Some(interval.max(MIN_UPKEEP_INTERVAL));
        self
    }

    /// Does without upkeep and its thread.
    ///
    /// A pipe that somebody removes stays away then, and a reader that is stranded on a retired pipe is freed by later
    /// reads alone (32 of them), or at the end.
    pub fn without_upkeep(mut self) -> Self {
        self.upkeep_interval = None;
        self
    }

    /// Leaves SIGTERM and SIGINT alone: the pipe stays behind when one of them ends the process, and is swept as dead.
    ///
    /// Unless told so, a handler removes the pipe where a signal would end the process by default, and then lets it do
    /// so. A program that handles or ignores the signal, since before or later, keeps its ways.
    pub fn without_signal_cleanup(mut self) -> Self {
        self.cleans_up_at_signals = false;
        self
    }

    /// Publishes the pipe and starts the threads that serve it.
    ///
    /// Once it returns a reader finds the pipe. The threads block all signals and so leave them to the program.
    ///
    /// # Errors
    /// See [`Error`]; no pipe and no thread is left behind then.
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
        follow_forks(self.registry);
        let directory = resolve(&self.directory.unwrap_or_else(PipeDir::default_path))?;
        let cleans_up = self.cleans_up_at_signals && can_end_us();
        let trace = cleans_up.then(Trace::take).flatten();
        let publication = Arc::new(Publication::start(Place { directory, label: self.label }, trace)?);
        withdraw_at_exit(&publication);
        if cleans_up {
            clean_up_where_default();
        }
        let stop = Arc::new(Stop::default());
        let recording = Recording {
            registry: self.registry,
            publication: Arc::clone(&publication),
            stop: Arc::clone(&stop),
            write_deadline: self.write_deadline,
            longest_rest: self.upkeep_interval.unwrap_or(UPKEEP_INTERVAL),
            counts: Arc::new(Counts::default()),
        };
        // From here on the handle cleans up when something fails.
        let mut recorder = Recorder {
            publication: Arc::clone(&publication),
            stop: Arc::clone(&stop),
            counts: Arc::clone(&recording.counts),
            threads: Vec::new(),
        };
        recorder.spawn("statvent-pipe", move || recording.run())?;
        if let Some(interval) = self.upkeep_interval {
            recorder.spawn("statvent-upkeep", move || {
                while !stop.wait(interval) {
                    publication.mend();
                }
            })?;
        }
        Ok(recorder)
    }
}
