//! One collection after the other over one pipe directory.
//!
//! Owns what is remembered between collections and the counts of an answer. The waiting is in `scrape`, the
//! judgement of each process in `process`. Called by `serve` from a thread of its own, and by the benchmark.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{fmt, io};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use statvent_posix::dir::{DirError, PipeDir};
use statvent_posix::node::FileId;

use super::discover::discover;
use super::pipe::{CHUNK_BYTES, Pipe, PipeError};
use super::process::{Process, Standing};
use super::reading::Reading;
use super::scrape::scrape;

/// The most pipes of late processes that stay open from one collection to the next.
const MAX_KEPT_OPEN: usize = 256;

/// Collects from all pipes of one directory, again and again.
///
/// Blocks the thread that calls it; never longer than a deadline for each 384 silent processes.
///
/// ```
/// use std::time::Duration;
/// use statvent_web::collect::Collector;
///
/// let dir = tempfile::tempdir()?;
/// let mut collector = Collector::new(dir.path().to_owned(), Duration::from_secs(1));
/// let collection = collector.collect()?;
/// assert_eq!((collection.readings.len(), collection.counts.ok), (0, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Collector {
    path: PathBuf,
    deadline: Duration,
    dir_id: Option<FileId>,
    processes: BTreeMap<OsString, Process>,
    /// Memory to read into.
    chunk: Vec<u8>,
}

/// What one collection brought.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Collection<'a> {
    /// A reading for each process that is `ok` or `stale`, in the order of the pipes' names.
    pub readings: Vec<&'a Reading>,
    /// How the processes stand.
    pub counts: Counts,
    /// The pipes counted as unreadable, and why; those above the limit of pipes aside.
    pub troubles: Vec<(OsString, PipeError)>,
}

/// How many processes stand how.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Answered in this collection.
    pub ok: usize,
    /// Did not answer in time; their last values count.
    pub stale: usize,
    /// Did not answer in time and never did before.
    pub late: usize,
    /// Pipes that we may not read, that say more than a process may, or that are too many.
    pub unreadable: usize,
    /// Names in the directory that are not those of pipes.
    pub ignored: usize,
}

/// Why there is no collection.
#[derive(Debug)]
#[non_exhaustive]
pub enum CollectError {
    /// The pipe directory cannot be used.
    Directory(DirError),
}

impl fmt::Display for CollectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(err) => err.fmt(f),
        }
    }
}

impl core::error::Error for CollectError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Directory(err) => err.source(),
        }
    }
}

impl Collector {
    /// Returns a collector that knows no process yet; `deadline` is how long one may take to answer.
    #[must_use]
    pub fn new(path: PathBuf, deadline: Duration) -> Self {
        let chunk = vec![0; CHUNK_BYTES];
        Self { path, deadline, dir_id: None, processes: BTreeMap::new(), chunk }
    }

    /// Says whether the directory can be used; one that is missing can.
    ///
    /// # Errors
    /// [`CollectError::Directory`] says what to do.
    pub fn check(&self) -> Result<(), CollectError> {
        self.open_dir().map(drop)
    }

    /// Asks every process of the directory, once.
    ///
    /// A directory that is missing has no processes. A process that does not answer costs its own stats alone.
    ///
    /// # Errors
    /// [`CollectError::Directory`] if the directory is there and cannot be used.
    pub fn collect(&mut self) -> Result<Collection<'_>, CollectError> {
        let dir = self.open_dir()?;
        let dir_id = dir.as_ref().map(PipeDir::id);
        if self.dir_id != dir_id {
            self.processes.clear();
            self.dir_id = dir_id;
        }
        let Some(dir) = dir else { return Ok(Collection::default()) };
        let found = discover(dir.names().map_err(CollectError::Directory)?);
        self.processes.retain(|name, process| !process.is_gone() || found.names.binary_search(name).is_ok());
        for name in found.names {
            self.processes.entry(name).or_default();
        }
        let (mut counts, troubles) = self.ask(&dir);
        counts.unreadable += found.n_above_limit;
        counts.ignored += found.n_foreign;
        self.close_excess();
        let readings = self.processes.values().filter_map(|process| process.last.as_ref()).collect();
        Ok(Collection { readings, counts, troubles })
    }

    /// Listens to late processes until `wake` is readable, so that none of them waits for the next collection.
    ///
    /// # Errors
    /// What the system answers to waiting.
    pub fn rest(&mut self, wake: BorrowedFd<'_>) -> io::Result<()> {
        loop {
            let open = self.processes.values_mut().filter(|process| is_worth_polling(process));
            let mut open: Vec<_> = open.collect();
            if !wait(wake, &mut open, &mut self.chunk)? {
                return Ok(());
            }
        }
    }

    fn open_dir(&self) -> Result<Option<PipeDir>, CollectError> {
        match PipeDir::open(&self.path) {
            Ok(dir) => Ok(Some(dir)),
            Err(DirError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(CollectError::Directory(err)),
        }
    }

    fn ask(&mut self, dir: &PipeDir) -> (Counts, Vec<(OsString, PipeError)>) {
        let n_bytes_held =
            self.processes.values().filter_map(|process| process.last.as_ref()).map(Reading::n_bytes);
        let n_bytes_held = n_bytes_held.sum();
        let mut questions = Vec::new();
        let mut asked = Vec::new();
        for (name, process) in &mut self.processes {
            if let Some(question) = process.question(dir, name, self.deadline) {
                questions.push(question);
                asked.push((name, process));
            }
        }
        let heard = scrape(dir, questions, &mut self.chunk, n_bytes_held);
        let mut counts = Counts::default();
        let mut troubles = Vec::new();
        for ((name, process), heard) in asked.into_iter().zip(heard) {
            match process.take(dir, name, heard) {
                Standing::Ok => counts.ok += 1,
                Standing::Stale => counts.stale += 1,
                Standing::Late => counts.late += 1,
                Standing::Foreign => counts.ignored += 1,
                Standing::Gone => {}
                Standing::Unreadable(err) => {
                    counts.unreadable += 1;
                    troubles.push((name.clone(), err));
                }
            }
        }
        (counts, troubles)
    }

    /// Closes pipes of late processes where there are too many, those first that nobody has open for writing: a writer
    /// of another library may not survive that its reader leaves.
    fn close_excess(&mut self) {
        let n_open = self.processes.values().filter(|process| process.open.is_some()).count();
        let mut n_excess = n_open.saturating_sub(MAX_KEPT_OPEN);
        for has_writer in [false, true] {
            let open = self.processes.values_mut().map(|process| &mut process.open);
            let like = |open: &&mut Option<Box<Pipe>>| {
                open.as_ref().is_some_and(|open| open.has_writer() == has_writer)
            };
            for open in open.filter(like).take(n_excess) {
                *open = None;
                n_excess -= 1;
            }
        }
    }
}

fn is_worth_polling(process: &Process) -> bool {
    process.open.as_ref().is_some_and(|open| open.is_worth_polling())
}

/// Waits for one of the pipes and gives each that is readable a turn; `false` once `wake` is readable.
fn wait(wake: BorrowedFd<'_>, processes: &mut [&mut Process], chunk: &mut [u8]) -> io::Result<bool> {
    let mut polled = vec![PollFd::new(wake, PollFlags::POLLIN)];
    let open = processes.iter().filter_map(|process| process.open.as_ref());
    polled.extend(open.map(|open| PollFd::new(open.as_fd(), PollFlags::POLLIN)));
    match poll(&mut polled, PollTimeout::NONE) {
        Ok(_) | Err(nix::Error::EINTR) => {}
        Err(err) => return Err(err.into()),
    }
    let ready: Vec<bool> =
        polled.iter().map(|polled| polled.revents().is_some_and(|events| !events.is_empty())).collect();
    drop(polled);
    if ready[0] {
        return Ok(false);
    }
    let now = Instant::now();
    for (process, _) in processes.iter_mut().zip(&ready[1..]).filter(|(_, ready)| **ready) {
        if let Some(open) = &mut process.open {
            let step = open.advance(now, chunk);
            process.take_step(step);
        }
    }
    Ok(true)
}
