//! One collection after the other over one pipe directory.
//!
//! Owns what is remembered between collections and the counts of an answer. Asking is in `scrape` and `probe`, the
//! judgement of each process in `process`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::future::pending;
use std::mem::take;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use statvent_posix::dir::DirError;
use statvent_posix::node::FileId;
use tokio::time::sleep;

use super::candidates::{Candidates, Rank};
use super::directory::{EntryKind, FilteredDir};
use super::error::{CollectError, Collection, Counts, is_resource_exhaustion};
use super::liveness::is_locked;
use super::orphans::remove_orphan;
use super::pipe::CHUNK_BYTES;
use super::process::{Process, Status};
use super::quota::{
    MAX_NAME_BYTES, MAX_NAMES, MAX_TOTAL_BYTES, Quota, enforce_memory_limit, enforce_name_limit,
};
use super::scrape::Scrape;
use super::snapshot::ProcessSnapshot;
use super::warning::{Reason, Warning};
use crate::descriptors::Descriptors;

/// The most hidden names that are looked at in one collection.
const MAX_HIDDEN: usize = 256;

/// How often a directory is listed that is new to us. A writer of the original's kind has no name between two of its
/// readers: known ones are looked for again, one that is not known yet is missed by every listing of such a moment. That
/// may last, where the writer is put off its processor, so the time between two looks doubles, from a millisecond to 32:
/// 63 in all, once.
const N_FIRST_LISTINGS: u32 = 7;
const FIRST_LISTING_PAUSE: Duration = Duration::from_millis(1);

/// The time until the next try where the system has no descriptor for us.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(2);

/// Collects from all pipes of one directory, again and again.
///
/// Needs a tokio runtime with I/O and time. A collection takes hardly longer than two deadlines, however many processes
/// are silent.
///
/// ```
/// use std::time::Duration;
/// use statvent_web::collect::Collector;
///
/// let dir = tempfile::tempdir()?;
/// let mut collector = Collector::new(dir.path().to_owned(), Duration::from_secs(1));
/// let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// let collection = runtime.block_on(collector.collect())?;
/// assert_eq!((collection.snapshots.len(), collection.counts.ok), (0, 0));
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
    descriptors: Descriptors,
    quota: Arc<Quota>,
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
            descriptors: Descriptors::available(),
            quota: Quota::new(MAX_TOTAL_BYTES),
        }
    }

    /// Reads only the pipes of these users; those of all users if there is none.
    #[must_use]
    pub fn allow_uids(self, allowed_uids: Vec<u32>) -> Self {
        Self { allowed_uids, ..self }
    }

    /// Returns a collector for the same pipes that knows no process.
    #[must_use]
    pub fn fresh(&self) -> Self {
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
        FilteredDir::open(&self.path, &[]).map(drop).map_err(CollectError::Directory)
    }

    /// Asks every process of the directory, once.
    ///
    /// A directory that is missing has no processes. A process that does not answer costs only its own stats. If the
    /// future is dropped before it is ready, some processes may have answered in vain.
    ///
    /// # Errors
    /// [`CollectError::Directory`] if the directory is there and cannot be used, [`CollectError::ResourceExhausted`] if there is no
    /// descriptor for it.
    pub async fn collect(&mut self) -> Result<Collection<'_>, CollectError> {
        let Some((source, n_foreign, n_omitted)) = self.open_and_list().await? else {
            return Ok(Collection::default());
        };
        self.quota.share_among(self.processes.len());
        let scrape = Scrape::new(&source, &self.quota, self.deadline, &mut self.chunk, self.descriptors);
        scrape.probe_all(self.processes.iter_mut().map(|(name, process)| (&**name, process))).await;
        // What late processes said while others were waited for.
        self.processes.values_mut().for_each(|process| process.resume_read(&mut self.chunk));
        let mut snapshots: Vec<_> =
            self.processes.values_mut().filter_map(|process| process.last.as_mut()).collect();
        enforce_memory_limit(&mut snapshots, MAX_TOTAL_BYTES);
        enforce_name_limit(&mut snapshots, MAX_NAMES, MAX_NAME_BYTES);
        let mut counts = Counts { unreadable: n_omitted, ignored: n_foreign, ..Counts::default() };
        let mut warnings = Vec::new();
        if n_omitted > 0 {
            warnings.push(Warning {
                name: self.path.clone().into(),
                reason: Reason::TooManyPipes { n_pipes: n_omitted },
            });
        }
        for (name, process) in &mut self.processes {
            counts.add(&process.status);
            warnings.extend(reason(process).map(|reason| Warning { name: name.clone(), reason }));
            if let Some(pipe) = &mut process.open {
                pipe.release_lock();
                // What it said last may be gone or cut off by now.
                pipe.builder.recharge(process.last.as_ref().map_or(0, ProcessSnapshot::n_bytes));
            }
        }
        let snapshots =
            self.processes.iter().filter_map(|(name, process)| Some((&**name, process.last.as_ref()?)));
        Ok(Collection { snapshots: snapshots.collect(), counts, warnings })
    }

    /// Reads what late processes say until it is dropped, which may happen at any time, so that none of them waits for
    /// the next collection.
    pub async fn idle(&mut self) {
        loop {
            let late = self.processes.values_mut();
            let late =
                late.filter(|process| process.open.as_ref().is_some_and(|pipe| pipe.can_await_readiness()));
            let readable = late.map(async |process| {
                if let Some(pipe) = &process.open {
                    pipe.readable().await;
                }
                process
            });
            let mut readable: FuturesUnordered<_> = readable.collect();
            let Some(process) = readable.next().await else { return pending().await };
            process.resume_read(&mut self.chunk);
        }
    }

    /// Opens the directory and takes in who is there; `None` if there is no directory. Where the system has no descriptor
    /// for that it is tried again until the deadline.
    async fn open_and_list(&mut self) -> Result<Option<(FilteredDir, usize, usize)>, CollectError> {
        let until = Instant::now() + self.deadline;
        loop {
            match self.open_and_list_once().await {
                Err(DirError::Open { source, .. }) if is_resource_exhaustion(&source) => {
                    if Instant::now() >= until {
                        return Err(CollectError::ResourceExhausted(source));
                    }
                    sleep(EXHAUSTED_PAUSE).await;
                }
                listed => return listed.map_err(CollectError::Directory),
            }
        }
    }

    async fn open_and_list_once(&mut self) -> Result<Option<(FilteredDir, usize, usize)>, DirError> {
        let source = FilteredDir::open(&self.path, &self.allowed_uids)?;
        let dir_id = source.as_ref().map(|source| source.dir.id());
        let is_first = self.dir_id != dir_id;
        if is_first {
            self.processes.clear();
            self.dir_id = dir_id;
        }
        let Some(source) = source else { return Ok(None) };
        for n_looks in 1..if is_first { N_FIRST_LISTINGS } else { 1 } {
            self.refresh(&source)?;
            sleep(FIRST_LISTING_PAUSE * 2u32.pow(n_looks - 1)).await;
        }
        let (n_foreign, n_omitted) = self.refresh(&source)?;
        Ok(Some((source, n_foreign, n_omitted)))
    }

    /// Lists the directory and remembers the processes that have a place; returns how many names are not those of pipes
    /// that we read, and how many pipes have no place.
    fn refresh(&mut self, source: &FilteredDir) -> Result<(usize, usize), DirError> {
        self.processes.values_mut().for_each(|process| process.is_listed = false);
        let mut candidates = Candidates::default();
        let (mut n_foreign, mut n_hidden) = (0, 0);
        source.list(|name, kind| match self.processes.get_mut(name) {
            _ if kind == EntryKind::Hidden => {
                n_hidden += 1;
                if n_hidden <= MAX_HIDDEN {
                    // One that we may not remove stays, and is no pipe to any reader.
                    let _ = remove_orphan(source, name);
                }
            }
            Some(process) => {
                process.is_listed = true;
                candidates.offer(process.rank(), name);
            }
            None if kind == EntryKind::Pipe && source.allows_named(name) => {
                let rank = if is_locked(&source.dir, name) { Rank::Locked } else { Rank::Unknown };
                candidates.offer(rank, name);
            }
            None => n_foreign += 1,
        })?;
        // One without a name may be between two of its pipes.
        for (name, process) in self.processes.iter().filter(|(_, process)| process.is_missing()) {
            candidates.offer(process.rank(), name);
        }
        let mut known = take(&mut self.processes);
        for (_, name) in candidates.first {
            let process = known.remove(&name).unwrap_or_default();
            self.processes.insert(name, process);
        }
        Ok((n_foreign, candidates.n_omitted))
    }
}

/// What an operator should know of a process.
fn reason(process: &mut Process) -> Option<Reason> {
    let (n_omitted, n_malformed) =
        process.last.as_ref().map_or((0, 0), |last| (last.n_omitted(), last.n_malformed()));
    let has_data = process.open.as_ref().is_some_and(|open| open.has_data());
    match take(&mut process.status) {
        Status::Unreadable(err) => Some(Reason::Unreadable(err)),
        Status::Stale | Status::Late if has_data => Some(Reason::Unfinished),
        _ if n_omitted > 0 => Some(Reason::Truncated { n_stats: n_omitted }),
        _ => (n_malformed > 0).then_some(Reason::Malformed { n_lines: n_malformed }),
    }
}

#[cfg(test)]
mod tests;
