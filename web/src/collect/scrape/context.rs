//! What all probes of one scrape share: directory, quota, deadlines, read buffer and limits.
//!
//! Owns the end of the scrape and the number of pipes that stay open after it. It must not read a pipe.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::collect::directory::FilteredDir;
use crate::collect::process::Process;
use crate::collect::quota::Quota;
use crate::fd_budget::FdBudget;
use crate::limits::{N_ANSWER_SLOTS, SCRAPE_DEADLINES};

/// What all probes of one scrape share.
pub(in crate::collect) struct ScrapeContext<'a> {
    pub(super) dir: &'a FilteredDir,
    pub(super) quota: &'a Arc<Quota>,
    /// How long one process may take.
    pub(super) deadline: Duration,
    /// The end of the scrape: from then on a probe has only its slot time.
    pub(super) ends_at: Instant,
    /// The buffer for reads.
    pub(super) chunk: RefCell<&'a mut [u8]>,
    /// Permits for processes that are expected to answer at any moment.
    pub(super) slots: Semaphore,
    pub(super) fd_budget: FdBudget,
    /// The number of pipes that earlier probes left open and that no probe reads now.
    n_kept: Cell<usize>,
}

impl<'a> ScrapeContext<'a> {
    pub(in crate::collect) fn new(
        dir: &'a FilteredDir,
        quota: &'a Arc<Quota>,
        deadline: Duration,
        chunk: &'a mut [u8],
        fd_budget: FdBudget,
    ) -> Self {
        Self {
            dir,
            quota,
            deadline,
            ends_at: Instant::now() + SCRAPE_DEADLINES * deadline,
            chunk: RefCell::new(chunk),
            slots: Semaphore::new(N_ANSWER_SLOTS),
            fd_budget,
            n_kept: Cell::new(0),
        }
    }

    /// Counts the pipes that earlier scrapes left open.
    pub(super) fn count_kept<'p>(&self, processes: impl Iterator<Item = &'p Process>) {
        self.n_kept.set(processes.filter(|process| process.open_pipe.is_some()).count());
    }

    /// Stops counting the pipe of a process whose probe begins.
    pub(super) fn uncount_kept(&self, process: &Process) {
        self.n_kept.update(|n_kept| n_kept - usize::from(process.open_pipe.is_some()));
    }

    /// Keeps the pipe of a silent process open if the limit allows it. Half of the places are reserved for pipes with a writer:
    /// a writer of another library may not survive that its reader closes the pipe.
    pub(super) fn keep_open(&self, process: &mut Process) {
        let Some(pipe) = &process.open_pipe else { return };
        let max_kept = self.fd_budget.n_silent_pipes;
        let n_places = if pipe.has_writer() { max_kept } else { max_kept.div_ceil(2) };
        if self.n_kept.get() < n_places {
            self.n_kept.update(|n_kept| n_kept + 1);
        } else {
            process.open_pipe = None;
        }
    }
}
