//! The published pipe: a state machine behind one mutex.
//!
//! Owns the lock under which the pipe changes: by a read, by upkeep, and at the end. Nothing is read or written and no reader
//! is waited for under it.

use crate::dir::PipeDir;
use crate::error::Error;
use crate::fifo::Fifo;
use crate::fork::this_process;
use crate::liveness::Claim;
use crate::lock::lock;
use crate::signals::Deferred;
use crate::site::{Place, Site};
use crate::traces::Trace;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use std::{io, mem};

/// How many retired pipes are kept, each by a descriptor, for readers that are stranded on them, until upkeep looks.
const MAX_RETIRED: usize = 32;

/// Grace period for readers racing a swap, between looking up the name and opening the pipe: several scheduler ticks.
const STRANDED_AFTER: Duration = Duration::from_millis(20);

/// A recorder's place in the file system, shared by its threads.
#[derive(Debug)]
pub(crate) struct Publication {
    place: Place,
    /// Who published it: a forked child has a copy of this, and must not touch the files.
    process: u64,
    /// What a signal that ends the process finds; `None` if the pipe is to stay then.
    trace: Option<&'static Trace>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Where it is or was last published.
    path: PathBuf,
    /// Whether a directory that is gone may be made anew: not if it was set up by another user, or for several.
    makes_directory: bool,
    /// The pipe on which the recorder waits for a reader.
    awaited: Option<Arc<Fifo>>,
    retired: VecDeque<(Instant, Arc<Fifo>)>,
}

#[derive(Debug)]
enum Phase {
    Published(Site),
    /// The pipe is to be removed: readers do not find it, or it served a reader and could not be swapped.
    Lost(Site),
    /// To be published anew. The byte of the last site is held meanwhile: readers must not take us for dead.
    Unpublished(Option<Arc<Claim>>),
    /// Never to be published again.
    Closed,
}

/// The state while files may be changing. A signal that is to end the process waits for that, and never comes to this
/// very thread.
struct Change<'a> {
    // In the order in which they end.
    state: MutexGuard<'a, State>,
    trace: Option<&'static Trace>,
    _deferred: Option<Deferred>,
}

/// What became of the pipe at which a reader arrived.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Handover {
    /// It is not waited on again: the reader is to be served.
    Retired,
    /// It was not the published one any more; nobody is to be served.
    Outdated,
}

impl Publication {
    /// Publishes for the first time.
    ///
    /// What a signal would leave behind is kept in `trace`.
    pub(crate) fn start(place: Place, trace: Option<&'static Trace>) -> Result<Self, Error> {
        let state = State {
            phase: Phase::Unpublished(None),
            path: place.directory.clone(),
            makes_directory: true,
            awaited: None,
            retired: VecDeque::new(),
        };
        let publication = Self { place, process: this_process(), trace, state: Mutex::new(state) };
        publication.change().state.recover(&publication.place)?;
        Ok(publication)
    }

    /// Says whether this process published it, and not the one that it was forked from.
    pub(crate) fn is_ours(&self) -> bool {
        self.process == this_process()
    }

    /// Returns where it is or was last published; in a forked child it may be the directory alone.
    pub(crate) fn path(&self) -> PathBuf {
        if self.is_ours() {
            return lock(&self.state).path.clone();
        }
        // The thread that held the lock when the process was forked does not exist here.
        self.state.try_lock().map_or_else(|_| self.place.directory.clone(), |state| state.path.clone())
    }

    /// Returns how long to rest before the next reader is waited for: not at all, unless so many have come in the last
    /// moment that a pipe would have to go to which others may still be on their way.
    pub(crate) fn rest_between_readers(&self) -> Duration {
        let state = lock(&self.state);
        if state.retired.len() < MAX_RETIRED { Duration::ZERO } else { state.until_oldest_is_stranded() }
    }

    /// Returns the pipe to wait on; publishes anew if it was lost. `None` if it was withdrawn.
    ///
    /// # Errors
    /// It was lost and cannot be published now.
    pub(crate) fn await_next(&self) -> Result<Option<Arc<Fifo>>, Error> {
        let mut change = self.change();
        let state = &mut *change.state;
        state.recover(&self.place)?;
        let Phase::Published(site) = &state.phase else { return Ok(None) };
        state.awaited = Some(Arc::clone(&site.fifo));
        Ok(state.awaited.clone())
    }

    /// Puts a fresh pipe in the place of `served`, at which a reader arrived; does without where none can be made.
    pub(crate) fn hand_over(&self, served: &Arc<Fifo>) -> Handover {
        let mut change = self.change();
        let state = &mut *change.state;
        state.awaited = None;
        let Phase::Published(site) = &mut state.phase else { return Handover::Outdated };
        if !Arc::ptr_eq(&site.fifo, served) {
            return Handover::Outdated;
        }
        match site.renew() {
            Ok(retired) => state.retire(retired),
            Err(_) => {
                state.lose();
                // What is wrong is told by the next attempt.
                let _ = state.recover(&self.place);
            }
        }
        Handover::Retired
    }

    /// Publishes anew if readers do not find the pipe any more, and frees readers stranded on a retired one.
    pub(crate) fn mend(&self) {
        let mut change = self.change();
        let state = &mut *change.state;
        if matches!(&state.phase, Phase::Published(site) if !site.is_intact()) {
            state.lose();
        }
        // What is wrong is told by the recorder's thread, which tries as well.
        let _ = state.recover(&self.place);
        if let Some(fifo) = &state.awaited
            && !matches!(&state.phase, Phase::Published(site) if Arc::ptr_eq(&site.fifo, fifo))
        {
            // It was tried when that pipe was lost, which may have failed for want of a descriptor.
            let _ = fifo.release();
        }
        state.free_stranded(0);
    }

    /// Removes the pipe for good, wakes the recorder's thread, and gives an end of file to readers that are stranded on what
    /// it leaves behind: nobody will look for them later. In a forked child it does nothing.
    ///
    /// A reader that is at this moment between looking up the name and opening the pipe is found by a further call.
    ///
    /// # Errors
    /// The thread could not be woken, for want of a descriptor: call again.
    pub(crate) fn withdraw(&self) -> io::Result<()> {
        if !self.is_ours() {
            return Ok(());
        }
        let mut change = self.change();
        let state = &mut *change.state;
        state.lose();
        // What cannot be removed is swept as dead.
        let _ = state.vacate();
        state.phase = Phase::Closed;
        state.retired.iter().for_each(|(_, fifo)| fifo.free_stranded());
        state.release()
    }

    fn change(&self) -> Change<'_> {
        // Before the lock, which must not be held by a thread that a signal has stopped.
        let deferred = self.trace.map(|_| Deferred::new());
        let state = lock(&self.state);
        self.trace.inspect(|trace| trace.begin_change());
        Change { state, trace: self.trace, _deferred: deferred }
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        if let Some(trace) = self.trace
            && self.is_ours()
        {
            trace.give_back();
        }
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        let Some(trace) = self.trace else { return };
        trace.end_change(match &self.state.phase {
            Phase::Published(site) | Phase::Lost(site) => Some(site.fifo.whereabouts()),
            Phase::Unpublished(_) | Phase::Closed => None,
        });
    }
}

impl State {
    /// Publishes anew what was lost.
    fn recover(&mut self, place: &Place) -> Result<(), Error> {
        let path = &place.directory;
        self.vacate().map_err(|source| Error::Pipe { path: path.clone(), source })?;
        let Phase::Unpublished(kept) = &self.phase else { return Ok(()) };
        let kept = kept.clone();
        // Pipes that are kept for stranded readers take room as well.
        self.free_stranded(0);
        let dir = if self.makes_directory { PipeDir::create(path)? } else { PipeDir::open_to_publish(path)? };
        self.makes_directory = dir.would_be_made_alike();
        let site = Site::establish(place, dir, kept.as_ref())?;
        self.path = site.path();
        // A byte of another name or directory is free from here on, after that of the new site was taken.
        self.phase = Phase::Published(site);
        Ok(())
    }

    /// Notes that the pipe is to be removed, and that it is not waited on any more.
    fn lose(&mut self) {
        // Without /proc the pipe is opened by its name, so the thread is woken before that is gone.
        let _ = self.release();
        self.phase = match mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Published(site) => Phase::Lost(site),
            other => other,
        };
    }

    /// Removes a pipe that was lost.
    fn vacate(&mut self) -> io::Result<()> {
        let Phase::Lost(site) = &self.phase else { return Ok(()) };
        site.vacate()?;
        let (fifo, claim) = (Arc::clone(&site.fifo), Arc::clone(&site.claim));
        // Held until the pipe is gone: its byte is part of it.
        self.phase = Phase::Unpublished(claim.is_held().then_some(claim));
        self.retire(fifo);
        Ok(())
    }

    /// Wakes the recorder's thread if it waits for a reader.
    fn release(&self) -> io::Result<()> {
        self.awaited.as_ref().map_or(Ok(()), |fifo| fifo.release())
    }

    fn retire(&mut self, fifo: Arc<Fifo>) {
        self.retired.push_back((Instant::now(), fifo));
        self.free_stranded(MAX_RETIRED);
    }

    /// Returns how long readers may still be on their way to the oldest of the retired pipes.
    fn until_oldest_is_stranded(&self) -> Duration {
        let oldest = self.retired.front();
        oldest.map_or(Duration::ZERO, |(since, _)| STRANDED_AFTER.saturating_sub(since.elapsed()))
    }

    /// Frees readers that are stranded on retired pipes, and lets go of all of those pipes but the last `n_kept`.
    fn free_stranded(&mut self, n_kept: usize) {
        while self.retired.len() > n_kept && self.until_oldest_is_stranded().is_zero() {
            self.retired.pop_front().inspect(|(_, oldest)| oldest.free_stranded());
        }
    }
}

#[cfg(test)]
mod tests;
