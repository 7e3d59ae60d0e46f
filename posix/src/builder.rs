//! How a recorder is set up and started.
//!
//! Owns the choices and their defaults, and the order in which a recorder comes to life. What then runs is in
//! `recorder` and `upkeep`. Called by users, and by `start_once`.

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
use crate::thread::Thread;
use crate::traces::Trace;
use crate::upkeep::{self, WATCHED_REST};
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
    upkeep: Upkeep,
    cleans_up_at_signals: bool,
}

/// How a pipe is looked after.
#[derive(Clone, Copy, Debug)]
enum Upkeep {
    Never,
    Every(Duration),
    Watching(Duration),
}

const UPKEEP_INTERVAL: Duration = Duration::from_secs(10);

impl RecorderBuilder {
    pub(crate) fn new(registry: Reader<'static>) -> Self {
        Self {
            registry,
            directory: None,
            label: None,
            write_deadline: Duration::from_secs(1),
            upkeep: Upkeep::Every(UPKEEP_INTERVAL),
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

    /// Looks so often whether readers still find the pipe, and mends it; unless given, every 10 s; at least 1 ms.
    ///
    /// What cannot be mended at once is tried again at least as often, and at least every 10 s.
    pub fn upkeep_interval(mut self, interval: Duration) -> Self {
        let interval = interval.max(Duration::from_millis(1));
        self.upkeep = match self.upkeep {
            Upkeep::Watching(_) => Upkeep::Watching(interval),
            _ => Upkeep::Every(interval),
        };
        self
    }

    /// Mends the pipe within 100 ms when it, or its directory, is removed or moved away, and not only at the next upkeep.
    ///
    /// Costs no wake-up while nothing happens, one for each read, and one of the host's inotify instances
    /// (`inotify(7)`), of which a user has 128 by default. Where none is left the pipe is mended by upkeep, which is
    /// told once on standard error.
    pub fn watch(mut self) -> Self {
        self.upkeep = match self.upkeep {
            Upkeep::Never => Upkeep::Watching(UPKEEP_INTERVAL),
            Upkeep::Every(interval) | Upkeep::Watching(interval) => Upkeep::Watching(interval),
        };
        self
    }

    /// Does without upkeep and its thread, and so without [`watch`](Self::watch).
    ///
    /// A pipe that somebody removes stays away then, and a reader that is stranded on a retired pipe is freed by later
    /// reads alone (16 of them), or at the end.
    pub fn without_upkeep(mut self) -> Self {
        self.upkeep = Upkeep::Never;
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
        let stop = Arc::new(Stop::new().map_err(|source| Error::System { source })?);
        let cleans_up = self.cleans_up_at_signals && can_end_us();
        let trace = cleans_up.then(Trace::take).flatten();
        let publication = Arc::new(Publication::start(Place { directory, label: self.label }, trace)?);
        withdraw_at_exit(&publication);
        if cleans_up {
            clean_up_where_default();
        }
        let recording = Recording {
            registry: self.registry,
            publication: Arc::clone(&publication),
            stop: Arc::clone(&stop),
            write_deadline: self.write_deadline,
            longest_rest: self.upkeep.longest_rest(),
            counts: Arc::new(Counts::default()),
        };
        let failed = |source| Error::System { source };
        // From here on the handle cleans up when something fails.
        let mut recorder = Recorder::new(publication, stop, Arc::clone(&recording.counts));
        recorder.add_thread(Thread::spawn("statvent-pipe", move || recording.run()).map_err(failed)?);
        let (publication, stop) = recorder.shared();
        let upkeep: Box<dyn FnOnce() + Send> = match self.upkeep {
            Upkeep::Never => return Ok(recorder),
            Upkeep::Every(interval) => Box::new(move || upkeep::run(&publication, &stop, interval)),
            Upkeep::Watching(interval) => {
                Box::new(move || upkeep::run_watching(&publication, &stop, interval))
            }
        };
        recorder.add_thread(Thread::spawn("statvent-upkeep", upkeep).map_err(failed)?);
        Ok(recorder)
    }
}

impl Upkeep {
    /// How long the recorder rests at most before it tries again what failed.
    fn longest_rest(self) -> Duration {
        match self {
            Self::Never => UPKEEP_INTERVAL,
            Self::Every(interval) => interval,
            Self::Watching(interval) => interval.min(WATCHED_REST),
        }
    }
}
