//! How a recorder is set up and started.
//!
//! Owns the choices and their defaults, and the order in which a recorder comes to life. What then runs is in
//! `recorder` and `upkeep`. Called by users, and by `start_once`.

use crate::dir::{PipeDir, resolve};
use crate::error::Error;
use crate::exit::withdraw_at_exit;
use crate::handle::Recorder;
use crate::pages::keep_off_huge_pages;
use crate::publication::Publication;
use crate::recorder::{Counts, Recording};
use crate::site::Place;
use crate::stop::Stop;
use crate::upkeep;
use nix::sys::signal::{SigSet, SigmaskHow};
use statvent_core::Reader;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
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
}

impl RecorderBuilder {
    pub(crate) fn new(registry: Reader<'static>) -> Self {
        Self {
            registry,
            directory: None,
            label: None,
            write_deadline: Duration::from_secs(1),
            upkeep_interval: Some(Duration::from_secs(10)),
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
    pub fn upkeep_interval(mut self, interval: Duration) -> Self {
        self.upkeep_interval = Some(interval.max(Duration::from_millis(1)));
        self
    }

    /// Does without upkeep and its thread.
    ///
    /// A pipe that somebody removes stays away then, and a reader that is stranded on a retired pipe is freed by later
    /// reads alone (16 of them).
    pub fn without_upkeep(mut self) -> Self {
        self.upkeep_interval = None;
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
        keep_off_huge_pages(self.registry.memory());
        let directory = resolve(&self.directory.unwrap_or_else(PipeDir::default_path))?;
        let stop = Arc::new(Stop::new().map_err(|source| Error::System { source })?);
        let publication = Arc::new(Publication::start(Place { directory, label: self.label })?);
        withdraw_at_exit(&publication);
        let recording = Recording {
            registry: self.registry,
            publication: Arc::clone(&publication),
            stop: Arc::clone(&stop),
            write_deadline: self.write_deadline,
            counts: Arc::new(Counts::default()),
        };
        // From here on the handle cleans up when something fails.
        let mut recorder = Recorder::new(publication, stop, Arc::clone(&recording.counts));
        recorder.add_thread(spawn("statvent-pipe", move || recording.run())?);
        if let Some(interval) = self.upkeep_interval {
            let (publication, stop) = recorder.shared();
            recorder
                .add_thread(spawn("statvent-upkeep", move || upkeep::run(&publication, &stop, interval))?);
        }
        Ok(recorder)
    }
}

/// Starts a thread that no signal is ever delivered to.
fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    let failed = |source: io::Error| Error::System { source };
    // A thread inherits the mask, so that there is no moment in which it could be chosen for a signal.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK).map_err(|err| failed(err.into()))?;
    let spawned = Builder::new().name(name.to_owned()).spawn(work);
    let restored = before.thread_set_mask();
    let thread = spawned.map_err(failed)?;
    restored.map_err(|err| failed(err.into()))?;
    Ok(thread)
}
