//! One collection after the other over one pipe directory.
//!
//! Owns what is remembered between collections and the counts of an answer. The waiting for answers is in `scrape`, the
//! judgement of each process in `process`. Called by `serve` from a thread of its own, and by the benchmark.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use statvent_posix::dir::DirError;
use statvent_posix::node::FileId;

use super::admission::{Budget, Excess, MAX_NAME_BYTES, MAX_NAMES, excess};
use super::discover::{Kind, Source};
use super::newcomers::{Newcomers, Welcome};
use super::outcome::{CollectError, Collection, Counts};
use super::pipe::{CHUNK_BYTES, Pipe, PipeError, is_shortage};
use super::process::{Process, Rank, Standing};
use super::reading::Reading;
use super::rest::{is_worth_polling, wait};
use super::scrape::{ScrapeLimits, scrape};
use super::spares::remove_abandoned;
use super::trouble::{Reason, Trouble};
use crate::descriptors::Descriptors;

/// The most pipes that are asked in one collection, and the most processes that are remembered.
pub const MAX_PIPES: usize = 4096;

/// Chosen so that the service stays below 64 MB, whatever is said to it and whatever clients do not take: see its tests of
/// memory. Holes that are left where something was freed come on top: some for the binary, which sets its allocator (`heap`),
/// up to as much again for other programs.
const N_BYTES_AT_WORK: usize = 18 << 20;
const N_BYTES_AT_REST: usize = 14 << 20;
const READINGS: Budget = Budget { n_bytes: 14 << 20, n_names: MAX_NAMES, n_name_bytes: MAX_NAME_BYTES };

/// For how many newcomers that hold no byte strangers give up their places in one collection, where there are too few: in
/// the end everybody has a turn, and a collection takes no longer for it.
const TURNS: usize = 64;

/// The most hidden names that are looked at in one collection.
const MAX_HIDDEN: usize = 256;

/// How often a directory is listed that is new to us. A writer of the original's kind has no name between two of its
/// readers: known ones are looked for again, one that nobody here knows is missed by every listing of such a moment. That
/// may last, where the writer is put off its processor, so the time between two looks doubles, from a millisecond to 32:
/// 63 in all, once.
const FIRST_LOOKS: u32 = 7;
const BETWEEN_FIRST_LOOKS: Duration = Duration::from_millis(1);

/// The time until the next try where the system has no descriptor for us.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(2);

/// Collects from all pipes of one directory, again and again.
///
/// Blocks the thread that calls it; hardly longer than two deadlines, however many processes are silent.
///
/// ```
/// use std::time::{Duration, Instant};
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
    allowed_uids: Vec<u32>,
    dir_id: Option<FileId>,
    processes: BTreeMap<OsString, Process>,
    /// Memory to read into.
    chunk: Vec<u8>,
    limits: Limits,
}

/// What all processes together may take.
struct Limits {
    /// While they are asked.
    at_work: ScrapeLimits,
    /// Between two collections: for what they said last and what the late ones have said so far.
    n_bytes_at_rest: usize,
    /// The pipes of late processes that stay open meanwhile.
    n_kept_open: usize,
    /// The readings of one collection.
    readings: Budget,
}

impl Limits {
    const fn of(descriptors: Descriptors) -> Self {
        Self {
            at_work: ScrapeLimits { n_open: descriptors.n_asked, n_bytes: N_BYTES_AT_WORK },
            n_bytes_at_rest: N_BYTES_AT_REST,
            n_kept_open: descriptors.n_kept,
            readings: READINGS,
        }
    }
}

impl Collector {
    /// Returns a collector that knows no process yet; `deadline` is how long one may take to answer.
    #[must_use]
    pub fn new(path: PathBuf, deadline: Duration) -> Self {
        Self {
            path,
            deadline,
            allowed_uids: Vec::new(),
            dir_id: None,
            processes: BTreeMap::new(),
            chunk: vec![0; CHUNK_BYTES],
            limits: Limits::of(Descriptors::available()),
        }
    }

    /// Reads the pipes of these users alone; those of all users if there is none.
    #[must_use]
    pub fn allow_uids(self, allowed_uids: Vec<u32>) -> Self {
        Self { allowed_uids, ..self }
    }

    /// Returns a collector for the same pipes that knows no process.
    #[must_use]
    pub fn anew(&self) -> Self {
        Self::new(self.path.clone(), self.deadline).allow_uids(self.allowed_uids.clone())
    }

    /// Returns the path of the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns how long a process may take to answer.
    #[must_use]
    pub const fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Says whether the directory can be used; one that is missing can.
    ///
    /// # Errors
    /// [`CollectError::Directory`] says what to do.
    pub fn check(&self) -> Result<(), CollectError> {
        Source::open(&self.path, &[]).map(drop).map_err(CollectError::Directory)
    }

    /// Asks every process of the directory, once.
    ///
    /// A directory that is missing has no processes. A process that does not answer costs its own stats alone.
    ///
    /// # Errors
    /// [`CollectError::Directory`] if the directory is there and cannot be used, [`CollectError::Shortage`] if there is no
    /// descriptor for it.
    pub fn collect(&mut self) -> Result<Collection<'_>, CollectError> {
        let Some((source, n_foreign, n_left_out)) = self.look_around()? else {
            return Ok(Collection::default());
        };
        let mut standings = self.ask(&source);
        self.refuse_excess(&mut standings);
        self.close_excess();
        self.shed();
        self.processes
            .values_mut()
            .filter_map(|process| process.open.as_mut())
            .for_each(|open| open.loosen());
        let mut counts = Counts::of(&standings);
        counts.unreadable += n_left_out;
        counts.ignored += n_foreign;
        let mut troubles = Vec::new();
        if n_left_out > 0 {
            let name = self.path.clone().into_os_string();
            troubles.push(Trouble { name, reason: Reason::Crowded { n_pipes: n_left_out } });
        }
        for ((name, process), standing) in self.processes.iter().zip(standings) {
            let reason = reason(process, standing);
            troubles.extend(reason.map(|reason| Trouble { name: name.clone(), reason }));
        }
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
        let n_bytes: usize = self.processes.values().map(Process::n_bytes).sum();
        let room_bytes = self.limits.n_bytes_at_rest.saturating_sub(n_bytes);
        let open = self.processes.values_mut().filter(|process| is_worth_polling(process));
        let goes_on = wait(wake, &mut open.collect::<Vec<_>>(), &mut self.chunk, room_bytes)?;
        self.shed();
        Ok(goes_on)
    }

    /// Opens the directory and makes acquaintance with who is in it; `None` if there is no directory. Where the system has no
    /// descriptor for that it is tried again until the deadline.
    fn look_around(&mut self) -> Result<Option<(Source, usize, usize)>, CollectError> {
        let until = Instant::now() + self.deadline;
        loop {
            match self.look_around_once() {
                Err(DirError::Open { source, .. }) if is_shortage(&source) => {
                    if Instant::now() >= until {
                        return Err(CollectError::Shortage(source));
                    }
                    sleep(SHORTAGE_PAUSE);
                }
                looked => return looked.map_err(CollectError::Directory),
            }
        }
    }

    fn look_around_once(&mut self) -> Result<Option<(Source, usize, usize)>, DirError> {
        let source = Source::open(&self.path, &self.allowed_uids)?;
        let dir_id = source.as_ref().map(|source| source.dir.id());
        let is_first = self.dir_id != dir_id;
        if is_first {
            self.processes.clear();
            self.dir_id = dir_id;
        }
        let Some(source) = source else { return Ok(None) };
        for n_looks in 1..if is_first { FIRST_LOOKS } else { 1 } {
            self.make_acquaintance(&source)?;
            sleep(BETWEEN_FIRST_LOOKS * 2u32.pow(n_looks - 1));
        }
        let (n_foreign, n_left_out) = self.make_acquaintance(&source)?;
        Ok(Some((source, n_foreign, n_left_out)))
    }

    /// Lists the directory and takes in who is new, while there is room; returns how many names are not those of pipes
    /// that we read, and for how many pipes there is no room.
    fn make_acquaintance(&mut self, source: &Source) -> Result<(usize, usize), DirError> {
        self.processes.values_mut().for_each(|process| process.is_listed = false);
        let mut newcomers = Newcomers::default();
        let (mut n_foreign, mut n_hidden) = (0, 0);
        source.list(|name, kind| match self.processes.get_mut(name) {
            _ if kind == Kind::Hidden => {
                n_hidden += 1;
                if n_hidden <= MAX_HIDDEN {
                    // One that we may not remove stays, and is no pipe to any reader.
                    let _ = remove_abandoned(source, name);
                }
            }
            Some(process) => process.is_listed = true,
            None if kind == Kind::Pipe && source.allows_named(name) => {
                newcomers.meet(source, name, MAX_PIPES)
            }
            None => n_foreign += 1,
        })?;
        self.processes.retain(|_, process| !process.is_gone() || process.is_listed);
        let (n_held, n_others) = (newcomers.n_held(), newcomers.n_others());
        let is_crowded = self.processes.len() + n_held + n_others > MAX_PIPES && !self.processes.is_empty();
        let n_displaced = self.make_room(Rank::Gone, n_held + n_others)
            + self.make_room(Rank::Stranger, n_held + n_others.min(TURNS))
            + self.make_room(Rank::Missing, n_held);
        let (welcome, n_left_out) = newcomers.choose(MAX_PIPES.saturating_sub(self.processes.len()));
        self.processes.extend(welcome.into_iter().map(|Welcome { name, is_held }| {
            (name, if is_crowded && !is_held { Process::in_crowd() } else { Process::default() })
        }));
        Ok((n_foreign, n_left_out + n_displaced))
    }

    /// Forgets those of a rank, where so many places are needed and there are too few; returns how many pipes are not asked
    /// for that.
    fn make_room(&mut self, rank: Rank, n_places: usize) -> usize {
        let n_missing = (self.processes.len() + n_places).saturating_sub(MAX_PIPES);
        let displaced = self.processes.extract_if(.., |_, process| process.rank() == rank);
        displaced.take(n_missing).filter(|(_, process)| process.is_listed && !process.is_gone()).count()
    }

    /// Asks all; returns how each of them stands, in their order.
    fn ask(&mut self, source: &Source) -> Vec<Standing> {
        let mut questions = Vec::new();
        let mut are_asked = Vec::new();
        for (name, process) in &mut self.processes {
            let question = process.question(source, name, self.deadline);
            are_asked.push(question.is_some());
            questions.extend(question);
        }
        let mut told = scrape(source, questions, &mut self.chunk, &self.limits.at_work).into_iter();
        let mut take = |((name, process), is_asked): ((&OsString, &mut Process), bool)| {
            let told = is_asked.then(|| told.next()).flatten();
            told.map_or(Standing::Gone, |told| process.take(source, name, told))
        };
        self.processes.iter_mut().zip(are_asked).map(&mut take).collect()
    }

    /// Leaves out those who say more than there is room for in all.
    fn refuse_excess(&mut self, standings: &mut [Standing]) {
        let (places, readings): (Vec<_>, Vec<_>) = (self.processes.values().enumerate())
            .filter_map(|(idx, process)| Some((idx, process.last.as_ref()?)))
            .unzip();
        let limit_bytes = self.limits.readings.n_bytes;
        let refused: BTreeMap<usize, Excess> = excess(&readings, self.limits.readings)
            .into_iter()
            .map(|(reading_idx, excess)| (places[reading_idx], excess))
            .collect();
        for (idx, (process, standing)) in self.processes.values_mut().zip(standings).enumerate() {
            let Some(excess) = refused.get(&idx) else { continue };
            process.refuse();
            *standing = Standing::Unreadable(match excess {
                Excess::Bytes => PipeError::TooMuchInAll { limit_bytes },
                Excess::Names => PipeError::TooManyNames,
            });
        }
    }

    /// Closes pipes of late processes where there are too many, those first that nobody has open for writing: a writer
    /// of another library may not survive that its reader leaves.
    fn close_excess(&mut self) {
        let n_open = self.processes.values().filter(|process| process.open.is_some()).count();
        let mut n_excess = n_open.saturating_sub(self.limits.n_kept_open);
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
        while n_bytes > self.limits.n_bytes_at_rest {
            let open = self.processes.values_mut().filter(|process| process.open.is_some());
            let Some(largest) = open.max_by_key(|process| process.n_bytes()) else { return };
            n_bytes -= largest.n_bytes();
            largest.open = None;
            n_bytes += largest.n_bytes();
        }
    }
}

/// What an operator should know of a process.
fn reason(process: &Process, standing: Standing) -> Option<Reason> {
    let n_malformed = process.last.as_ref().map_or(0, Reading::n_malformed);
    match standing {
        Standing::Unreadable(err) => Some(Reason::Unreadable(err)),
        Standing::Stale | Standing::Late if process.open.as_ref().is_some_and(|open| open.has_begun()) => {
            Some(Reason::Unfinished)
        }
        _ => (n_malformed > 0).then_some(Reason::Malformed { n_lines: n_malformed }),
    }
}

#[cfg(test)]
mod tests;
