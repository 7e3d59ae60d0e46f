//! What of a recorder is public at the moment: published at a site, lost for now, or withdrawn for good.
//!
//! Owns the lock under which the pipe changes: by a read, by upkeep, and at the end. Nobody reads, writes or waits
//! for a reader under it. Called by the recorder's two threads, by its handle, and at exit.

use crate::error::Error;
use crate::fifo::Fifo;
use crate::site::{Place, Site};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{io, mem, process};

/// How many retired pipes are kept for readers that are stranded on them.
const MAX_RETIRED: usize = 16;

/// From this age on nobody can be between looking up the name and opening the pipe.
const STRANDED_AFTER: Duration = Duration::from_millis(20);

/// A recorder's place in the file system, shared by its threads.
#[derive(Debug)]
pub(crate) struct Publication {
    place: Place,
    /// Who published it: a forked child has a copy of this, and must not touch the files.
    pid: u32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Where it is or was last published.
    path: PathBuf,
    /// The pipe on which the recorder waits for a reader.
    awaited: Option<Arc<Fifo>>,
    retired: VecDeque<(Instant, Arc<Fifo>)>,
}

#[derive(Debug)]
enum Phase {
    Published(Site),
    /// To be published anew.
    Lost,
    /// Never to be published again.
    Withdrawn,
}

/// What became of the pipe at which a reader arrived.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Handover {
    /// A fresh pipe has taken its name: the reader is to be served.
    Fresh,
    /// It was not the published one any more; nobody is to be served.
    Outdated,
    /// No fresh pipe can be made now.
    Failed,
}

impl Publication {
    /// Publishes for the first time.
    pub(crate) fn start(place: Place) -> Result<Self, Error> {
        let site = Site::establish(&place)?;
        let state = State {
            path: site.path(),
            phase: Phase::Published(site),
            awaited: None,
            retired: VecDeque::new(),
        };
        Ok(Self { place, pid: process::id(), state: Mutex::new(state) })
    }

    /// Says whether this process published it, and not the one that it was forked from.
    pub(crate) fn is_ours(&self) -> bool {
        self.pid == process::id()
    }

    /// Returns where it is or was last published.
    pub(crate) fn path(&self) -> PathBuf {
        self.lock().path.clone()
    }

    /// Returns the pipe to wait on; publishes anew if it was lost. `None` if there is none now.
    pub(crate) fn await_next(&self) -> Option<Arc<Fifo>> {
        let mut state = self.lock();
        state.recover(&self.place);
        let Phase::Published(site) = &state.phase else { return None };
        let fifo = Arc::clone(site.fifo());
        state.awaited = Some(Arc::clone(&fifo));
        Some(fifo)
    }

    /// Puts a fresh pipe in the place of `served`, at which a reader arrived.
    pub(crate) fn hand_over(&self, served: &Arc<Fifo>) -> Handover {
        let mut state = self.lock();
        state.awaited = None;
        let Phase::Published(site) = &mut state.phase else { return Handover::Outdated };
        if !Arc::ptr_eq(site.fifo(), served) {
            return Handover::Outdated;
        }
        if let Ok(retired) = site.renew() {
            state.retire(retired);
            return Handover::Fresh;
        }
        state.leave(Phase::Lost);
        state.recover(&self.place);
        if matches!(state.phase, Phase::Published(_)) { Handover::Fresh } else { Handover::Failed }
    }

    /// Publishes anew if readers do not find the pipe any more, and frees readers stranded on a retired one.
    pub(crate) fn mend(&self) {
        let mut state = self.lock();
        if matches!(&state.phase, Phase::Published(site) if !site.is_intact()) {
            state.leave(Phase::Lost);
        }
        state.recover(&self.place);
        if !state.is_awaiting_published() {
            // It was tried when that pipe was left, which may have failed for want of a descriptor.
            let _ = state.release();
        }
        state.free_stranded();
    }

    /// Removes the pipe for good and wakes the recorder's thread; in a forked child it does nothing.
    ///
    /// # Errors
    /// The thread could not be woken, for want of a descriptor: call again.
    pub(crate) fn withdraw(&self) -> io::Result<()> {
        if !self.is_ours() {
            return Ok(());
        }
        let mut state = self.lock();
        state.leave(Phase::Withdrawn);
        state.release()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No step leaves the state half changed, so that a panic elsewhere does no harm to it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Publishes anew what was lost, if that is possible now.
    fn recover(&mut self, place: &Place) {
        if matches!(self.phase, Phase::Lost)
            && let Ok(site) = Site::establish(place)
        {
            self.path = site.path();
            self.phase = Phase::Published(site);
        }
    }

    /// Ends the present phase; a pipe that is published is removed and nobody waits on it any more.
    fn leave(&mut self, next: Phase) {
        // Without /proc the pipe is opened by its name, so the thread is woken before that is gone.
        let _ = self.release();
        if let Phase::Published(site) = mem::replace(&mut self.phase, next) {
            // Another user's cleaner may be faster; a pipe that stays is swept as dead.
            let _ = site.fifo().remove();
            self.retire(Arc::clone(site.fifo()));
        }
    }

    fn is_awaiting_published(&self) -> bool {
        match (&self.awaited, &self.phase) {
            (Some(awaited), Phase::Published(site)) => Arc::ptr_eq(awaited, site.fifo()),
            _ => false,
        }
    }

    /// Wakes the recorder's thread if it waits for a reader.
    fn release(&self) -> io::Result<()> {
        self.awaited.as_ref().map_or(Ok(()), |fifo| fifo.release())
    }

    fn retire(&mut self, fifo: Arc<Fifo>) {
        if self.retired.len() == MAX_RETIRED
            && let Some((_, oldest)) = self.retired.pop_front()
        {
            oldest.free_stranded();
        }
        self.retired.push_back((Instant::now(), fifo));
    }

    fn free_stranded(&mut self) {
        while self.retired.front().is_some_and(|(since, _)| since.elapsed() >= STRANDED_AFTER) {
            if let Some((_, fifo)) = self.retired.pop_front() {
                fifo.free_stranded();
            }
        }
    }
}
