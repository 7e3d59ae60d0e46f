//! The collector: scrapes one pipe directory again and again.
//!
//! Owns what is remembered between scrapes, and the counts and warnings of each. Probing is in `scrape`, the state of one
//! process in `process`.

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
use statvent_posix::stat::FileId;
use tokio::time::sleep;

use super::candidates::{Candidates, Rank};
use super::directory::{EntryKind, FilteredDir};
use super::error::{CollectError, is_resource_exhaustion};
use super::liveness::holds_lock_byte;
use super::orphans::remove_orphan;
use super::process::{Process, Status};
use super::quota::Quota;
use super::result::{Collection, Counts};
use super::scrape::{ScrapeContext, probe_all};
use super::snapshot::ProcessSnapshot;
use super::truncation::{enforce_memory_limit, enforce_name_limit};
use super::warning::{Reason, Warning};
use crate::fd_budget::FdBudget;
use crate::limits::{
    CHUNK_BYTES, EXHAUSTED_PAUSE, FIRST_LISTING_PAUSE, MAX_ANSWER_NAME_BYTES, MAX_HIDDEN, MAX_NAMES,
    MAX_TOTAL_BYTES, N_FIRST_LISTINGS,
};

/// Remembers the processes of one directory, and scrapes their pipes whenever it is asked.
///
/// Needs a tokio runtime with I/O and time. Cost: a scrape takes little longer than two deadlines, however many processes are
/// silent.
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
    /// The buffer for reads.
    chunk: Vec<u8>,
    fd_budget: FdBudget,
    quota: Arc<Quota>,
}

impl Collector {
    /// Returns a collector that knows no process yet; `deadline` is how long one process may take to answer.
    #[must_use]
    pub fn new(path: PathBuf, deadline: Duration) -> Self {
        Self {
            path,
            deadline,
            allowed_uids: Vec::new(),
            dir_id: None,
            processes: BTreeMap::new(),
            chunk: vec![0; CHUNK_BYTES],
            fd_budget: FdBudget::from_system(),
            quota: Quota::new(MAX_TOTAL_BYTES),
        }
    }

    /// Reads only the pipes of these users; of all users if the list is empty.
    #[must_use]
    pub fn allow_uids(self, allowed_uids: Vec<u32>) -> Self {
        Self { allowed_uids, ..self }
    }

    /// Returns a collector with the same settings that knows no process.
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

    /// Checks whether the directory can be used; a missing one can.
    ///
    /// # Errors
    /// [`CollectError::Directory`], with what to do.
    pub fn check_directory(&self) -> Result<(), CollectError> {
        FilteredDir::open(&self.path, &[]).map(drop).map_err(CollectError::Directory)
    }

    /// Scrapes the directory once.
    ///
    /// A missing directory has no processes. A process that does not answer costs only its own stats. If the future is
    /// dropped before it is ready, the snapshots of some processes are lost until the next scrape.
    ///
    /// # Errors
    /// [`CollectError::Directory`] if the directory exists and cannot be used, [`CollectError::ResourceExhausted`] if the
    /// system has no descriptor for it within the deadline.
    pub async fn collect(&mut self) -> Result<Collection<'_>, CollectError> {
        let Some(Listing { dir, n_ignored, n_rejected }) = self.open_and_list().await? else {
            return Ok(Collection::default());
        };
        self.quota.share_among(self.processes.len());
        let context = ScrapeContext::new(&dir, &self.quota, self.deadline, &mut self.chunk, self.fd_budget);
        probe_all(&context, self.processes.iter_mut().map(|(name, process)| (&**name, process))).await;
        // Silent processes may have written while others were probed.
        self.processes.values_mut().for_each(|process| process.resume_read(&mut self.chunk));
        let mut snapshots: Vec<_> =
            self.processes.values_mut().filter_map(|process| process.last_snapshot.as_mut()).collect();
        enforce_memory_limit(&mut snapshots, MAX_TOTAL_BYTES);
        enforce_name_limit(&mut snapshots, MAX_NAMES, MAX_ANSWER_NAME_BYTES);
        let mut counts = Counts { unreadable: n_rejected, ignored: n_ignored, ..Counts::default() };
        let mut warnings = Vec::new();
        if n_rejected > 0 {
            let reason = Reason::TooManyPipes { n_pipes: n_rejected };
            warnings.push(Warning { name: self.path.clone().into(), reason });
        }
        for (name, process) in &mut self.processes {
            counts.add(&process.status);
            warnings.extend(take_reason(process).map(|reason| Warning { name: name.clone(), reason }));
            if let Some(pipe) = &mut process.open_pipe {
                pipe.release_lock();
                // The snapshot that it replaces may be gone or truncated by now.
                pipe.builder
                    .charge_beyond(process.last_snapshot.as_ref().map_or(0, ProcessSnapshot::n_bytes));
            }
        }
        let processes = self.processes.iter();
        let snapshots =
            processes.filter_map(|(name, process)| Some((&**name, process.last_snapshot.as_ref()?)));
        Ok(Collection { snapshots: snapshots.collect(), counts, warnings })
    }

    /// Reads the pipes of silent processes until the future is dropped, so that none of them blocks until the next scrape.
    ///
    /// Dropping it at any time loses nothing.
    pub async fn idle(&mut self) {
        loop {
            let silent = self
                .processes
                .values_mut()
                .filter(|process| process.open_pipe.as_ref().is_some_and(|pipe| pipe.can_await_readiness()));
            let readable = silent.map(async |process| {
                if let Some(pipe) = &process.open_pipe {
                    pipe.readable().await;
                }
                process
            });
            let mut readable: FuturesUnordered<_> = readable.collect();
            let Some(process) = readable.next().await else { return pending().await };
            process.resume_read(&mut self.chunk);
        }
    }

    /// Opens the directory and lists it; `None` if it is missing. Retries until the deadline while the system is out of
    /// descriptors or memory.
    async fn open_and_list(&mut self) -> Result<Option<Listing>, CollectError> {
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

    async fn open_and_list_once(&mut self) -> Result<Option<Listing>, DirError> {
        let dir = FilteredDir::open(&self.path, &self.allowed_uids)?;
        let dir_id = dir.as_ref().map(|dir| dir.pipe_dir.id());
        let is_first = self.dir_id != dir_id;
        if is_first {
            self.processes.clear();
            self.dir_id = dir_id;
        }
        let Some(dir) = dir else { return Ok(None) };
        for n_listings in 1..if is_first { N_FIRST_LISTINGS } else { 1 } {
            self.refresh(&dir)?;
            sleep(FIRST_LISTING_PAUSE * 2u32.pow(n_listings - 1)).await;
        }
        let (n_ignored, n_rejected) = self.refresh(&dir)?;
        Ok(Some(Listing { dir, n_ignored, n_rejected }))
    }

    /// Lists the directory and remembers the processes that are admitted; returns the number of names that are ignored, and
    /// of pipes that are rejected.
    fn refresh(&mut self, dir: &FilteredDir) -> Result<(usize, usize), DirError> {
        self.processes.values_mut().for_each(|process| process.is_listed = false);
        let mut candidates = Candidates::default();
        let (mut n_ignored, mut n_hidden) = (0, 0);
        dir.list(|name, kind| match self.processes.get_mut(name) {
            _ if kind == EntryKind::Hidden => {
                n_hidden += 1;
                if n_hidden <= MAX_HIDDEN {
                    // A failure is harmless: no reader takes a hidden name for a pipe.
                    let _ = remove_orphan(dir, name);
                }
            }
            Some(process) => {
                process.is_listed = true;
                candidates.offer(process.rank(), name);
            }
            None if kind == EntryKind::Pipe && dir.allows_named(name) => {
                let rank =
                    if holds_lock_byte(&dir.pipe_dir, name) { Rank::LockByteHeld } else { Rank::Unknown };
                candidates.offer(rank, name);
            }
            None => n_ignored += 1,
        })?;
        // A process without a name may be swapping its pipe.
        for (name, process) in self.processes.iter().filter(|(_, process)| process.is_missing()) {
            candidates.offer(process.rank(), name);
        }
        let mut known = take(&mut self.processes);
        for (_, name) in candidates.admitted {
            let process = known.remove(&name).unwrap_or_default();
            self.processes.insert(name, process);
        }
        Ok((n_ignored, candidates.n_rejected))
    }
}

/// An open directory after it was listed.
struct Listing {
    dir: FilteredDir,
    /// Names that are not those of pipes, and pipes of users who are not allowed.
    n_ignored: usize,
    /// Pipes above the limit.
    n_rejected: usize,
}

/// Returns what is wrong with a process, and takes its status: it was counted already.
fn take_reason(process: &mut Process) -> Option<Reason> {
    let (n_left_out, n_malformed) =
        process.last_snapshot.as_ref().map_or((0, 0), |last| (last.n_left_out(), last.n_malformed()));
    let has_data = process.open_pipe.as_ref().is_some_and(|pipe| pipe.has_data());
    match take(&mut process.status) {
        Status::Unreadable(err) => Some(Reason::Unreadable(err)),
        Status::Stale | Status::Late if has_data => Some(Reason::Unfinished),
        _ if n_left_out > 0 => Some(Reason::Truncated { n_stats: n_left_out }),
        _ => (n_malformed > 0).then_some(Reason::Malformed { n_lines: n_malformed }),
    }
}

#[cfg(test)]
mod tests;
