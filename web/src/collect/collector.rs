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
use super::pipe::{CHUNK_BYTES, Pipe};
use super::process::{Process, Standing};
use super::reading::Reading;
use super::scrape::scrape;
use super::trouble::{Reason, Trouble};

/// The most pipes that are asked in one collection, and the most processes that are remembered.
pub const MAX_PIPES: usize = 4096;
/// The most memory that all that is said may take, in bytes; twice as much while new readings replace the last ones.
const MAX_BYTES_IN_ALL: usize = 256 << 20;

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
    limit_bytes: usize,
}

/// What one collection brought.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Collection<'a> {
    /// A reading for each process that is `ok` or `stale`, in the order of the pipes' names.
    pub readings: Vec<&'a Reading>,
    /// How the processes stand.
    pub counts: Counts,
    /// The pipes counted as unreadable, those above [`MAX_PIPES`] aside, and the processes with malformed lines.
    pub troubles: Vec<Trouble>,
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
        let limit_bytes = MAX_BYTES_IN_ALL;
        Self { path, deadline, dir_id: None, processes: BTreeMap::new(), chunk, limit_bytes }
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
        let n_above_limit = self.make_acquaintance(found.names);
        let (mut counts, mut troubles) = self.ask(&dir);
        counts.unreadable += n_above_limit;
        counts.ignored += found.n_foreign;
        self.close_excess();
        self.shed();
        troubles.extend(self.processes.iter().filter_map(malformed));
        let readings = self.processes.values().filter_map(|process| process.last.as_ref()).collect();
        Ok(Collection { readings, counts, troubles })
    }

    /// Listens to late processes until `wake` is readable, so that none of them waits for the next collection.
    ///
    /// # Errors
    /// What the system answers to waiting.
    pub fn rest(&mut self, wake: BorrowedFd<'_>) -> io::Result<()> {
        while self.rest_once(wake)? {}
        Ok(())
    }

    fn rest_once(&mut self, wake: BorrowedFd<'_>) -> io::Result<bool> {
        let open = self.processes.values_mut().filter(|process| is_worth_polling(process));
        let goes_on = wait(wake, &mut open.collect::<Vec<_>>(), &mut self.chunk)?;
        self.shed();
        Ok(goes_on)
    }

    fn open_dir(&self) -> Result<Option<PipeDir>, CollectError> {
        match PipeDir::open(&self.path) {
            Ok(dir) => Ok(Some(dir)),
            Err(DirError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(CollectError::Directory(err)),
        }
    }

    /// Takes in processes that are not known yet, while there is room; returns how many there is none for.
    fn make_acquaintance(&mut self, names: Vec<OsString>) -> usize {
        let mut n_above_limit = 0;
        for name in names {
            if self.processes.len() < MAX_PIPES {
                self.processes.entry(name).or_default();
            } else if !self.processes.contains_key(&name) {
                n_above_limit += 1;
            }
        }
        n_above_limit
    }

    fn ask(&mut self, dir: &PipeDir) -> (Counts, Vec<Trouble>) {
        let mut questions = Vec::new();
        let mut are_asked = Vec::new();
        for (name, process) in &mut self.processes {
            let question = process.question(dir, name, self.deadline);
            are_asked.push(question.is_some());
            questions.extend(question);
        }
        let heard = scrape(dir, questions, &mut self.chunk, self.limit_bytes);
        let asked = self.processes.iter_mut().zip(are_asked).filter_map(|(asked, is)| is.then_some(asked));
        let mut counts = Counts::default();
        let mut troubles = Vec::new();
        for ((name, process), heard) in asked.zip(heard) {
            match process.take(dir, name, heard) {
                Standing::Ok => counts.ok += 1,
                Standing::Stale => counts.stale += 1,
                Standing::Late => counts.late += 1,
                Standing::Foreign => counts.ignored += 1,
                Standing::Gone => {}
                Standing::Unreadable(err) => {
                    counts.unreadable += 1;
                    troubles.push(Trouble { name: name.clone(), reason: Reason::Unreadable(err) });
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

    /// Closes pipes that are still asked, those first on which most was said, until what is held fits.
    fn shed(&mut self) {
        let mut n_bytes: usize = self.processes.values().map(Process::n_bytes).sum();
        while n_bytes > self.limit_bytes {
            let open = self.processes.values_mut().filter(|process| process.open.is_some());
            let Some(largest) = open.max_by_key(|process| process.n_bytes()) else { return };
            n_bytes -= largest.n_bytes();
            largest.open = None;
            n_bytes += largest.n_bytes();
        }
    }
}

fn malformed((name, process): (&OsString, &Process)) -> Option<Trouble> {
    let n_lines = process.last.as_ref().map_or(0, Reading::n_malformed);
    (n_lines > 0).then(|| Trouble { name: name.clone(), reason: Reason::Malformed { n_lines } })
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

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::eventfd::EventFd;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use std::fs::OpenOptions;
    use std::io::Write as _;
    use std::path::Path;

    fn make_fifo(dir: &Path, name: &str) -> PathBuf {
        let path = dir.join(name);
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        path
    }

    #[test]
    fn known_processes_keep_their_places_and_no_more_than_the_limit_are_known() {
        let temp = tempfile::tempdir().unwrap();
        for n in 0..MAX_PIPES {
            make_fifo(temp.path(), &format!("m{n}.stats"));
        }
        let mut collector = Collector::new(temp.path().to_owned(), Duration::from_millis(1));
        let late = Counts { late: MAX_PIPES, ..Counts::default() };
        assert_eq!(collector.collect().unwrap().counts, late);
        for name in ["a.stats", "b.stats", "z.stats"] {
            make_fifo(temp.path(), name);
        }
        assert_eq!(collector.collect().unwrap().counts, Counts { unreadable: 3, ..late });
        assert_eq!(collector.processes.len(), MAX_PIPES);
    }

    #[test]
    fn what_late_processes_say_between_collections_is_bounded() {
        let temp = tempfile::tempdir().unwrap();
        let path = make_fifo(temp.path(), "late.stats");
        let mut collector = Collector::new(temp.path().to_owned(), Duration::from_millis(1));
        assert_eq!(collector.collect().unwrap().counts.late, 1);
        collector.limit_bytes = 10_000;
        let mut writer = OpenOptions::new().write(true).open(path).unwrap();
        let wake = EventFd::new().unwrap();
        for is_open in [true, false] {
            writer.write_all(&b"some.stat: 1\n".repeat(100)).unwrap();
            assert!(collector.rest_once(wake.as_fd()).unwrap());
            assert_eq!(collector.processes.values().any(|process| process.open.is_some()), is_open);
        }
    }
}
