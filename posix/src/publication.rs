//! What of a recorder is public at the moment: published at a site, lost for now, or withdrawn for good.
//!
//! Owns the lock under which the pipe changes: by a read, by upkeep, and at the end. Nobody reads, writes or waits
//! for a reader under it. Called by the recorder's two threads, by its handle, and at exit.

use crate::dir::PipeDir;
use crate::error::Error;
use crate::fifo::Fifo;
use crate::fork::this_process;
use crate::liveness::Claim;
use crate::signals::Deferred;
use crate::site::{Place, Site};
use crate::traces::Trace;
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{io, mem};

/// How many retired pipes are kept for readers that are stranded on them, until upkeep looks.
const KEPT_RETIRED: usize = 16;

/// How many are kept where they are so many because readers come so fast: no further reader is waited for then.
const MAX_RETIRED: usize = 64;

/// How many pipes that cannot be removed are kept; of more the oldest stay until they are swept.
const MAX_LEFT: usize = 16;

/// From this age on nobody can be between looking up the name and opening the pipe.
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
    /// Pipes of former sites that could not be removed then: they have their names, and readers go on coming.
    left: Vec<Arc<Fifo>>,
}

#[derive(Debug)]
enum Phase {
    Published(Site),
    /// To be published anew. The byte of the last site is held meanwhile: readers must not take us for dead.
    Lost(Option<Arc<Claim>>),
    /// Never to be published again.
    Withdrawn,
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
            phase: Phase::Lost(None),
            path: place.directory.clone(),
            makes_directory: true,
            awaited: None,
            retired: VecDeque::new(),
            left: Vec::new(),
        };
        let publication = Self { place, process: this_process(), trace, state: Mutex::new(state) };
        publication.change().recover(&publication.place)?;
        Ok(publication)
    }

    /// Says whether this process published it, and not the one that it was forked from.
    pub(crate) fn is_ours(&self) -> bool {
        self.process == this_process()
    }

    /// Returns where it is or was last published; in a forked child it may be the directory alone.
    pub(crate) fn path(&self) -> PathBuf {
        if self.is_ours() {
            return self.lock().path.clone();
        }
        // Whoever held the lock when the process was forked does not exist here.
        self.state.try_lock().map_or_else(|_| self.place.directory.clone(), |state| state.path.clone())
    }

    /// Returns the pipe that readers find; `None` if there is none now.
    pub(crate) fn published(&self) -> Option<Arc<Fifo>> {
        match &self.lock().phase {
            Phase::Published(site) => Some(Arc::clone(site.fifo())),
            Phase::Lost(_) | Phase::Withdrawn => None,
        }
    }

    /// Returns how long to rest before the next reader is waited for: not at all, unless so many have come in the last
    /// moment that pipes would have to go to which others may still be on their way.
    pub(crate) fn rest_between_readers(&self) -> Duration {
        let state = self.lock();
        if state.retired.len() < MAX_RETIRED { Duration::ZERO } else { state.until_oldest_is_stranded() }
    }

    /// Returns the pipe to wait on; publishes anew if it was lost. `None` if it was withdrawn.
    ///
    /// # Errors
    /// It was lost and cannot be published now.
    pub(crate) fn await_next(&self) -> Result<Option<Arc<Fifo>>, Error> {
        let mut state = self.change();
        state.recover(&self.place)?;
        let Phase::Published(site) = &state.phase else { return Ok(None) };
        let fifo = Arc::clone(site.fifo());
        state.awaited = Some(Arc::clone(&fifo));
        Ok(Some(fifo))
    }

    /// Puts a fresh pipe in the place of `served`, at which a reader arrived; does without where none can be made.
    pub(crate) fn hand_over(&self, served: &Arc<Fifo>) -> Handover {
        let mut state = self.change();
        state.awaited = None;
        let Phase::Published(site) = &mut state.phase else { return Handover::Outdated };
        if !Arc::ptr_eq(site.fifo(), served) {
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
        let mut state = self.change();
        if matches!(&state.phase, Phase::Published(site) if !site.is_intact()) {
            state.lose();
        }
        // What is wrong is told by the recorder's thread, which tries as well.
        let _ = state.recover(&self.place);
        if !state.is_awaiting_published() {
            // It was tried when that pipe was left, which may have failed for want of a descriptor.
            let _ = state.release();
        }
        state.free_stranded();
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
        let mut state = self.change();
        state.leave(Phase::Withdrawn);
        state.retired.iter().for_each(|(_, fifo)| fifo.free_stranded());
        state.release()
    }

    fn change(&self) -> Change<'_> {
        // Before the lock, which must not be held by a thread that a signal has stopped.
        let deferred = self.trace.map(|_| Deferred::new());
        let state = self.lock();
        self.trace.inspect(|trace| trace.begin_change());
        Change { state, trace: self.trace, _deferred: deferred }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No step leaves the state half changed, so that a panic elsewhere does no harm to it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

impl Deref for Change<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Change<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        let Some(trace) = self.trace else { return };
        trace.end_change(match &self.state.phase {
            Phase::Published(site) => Some(site.fifo().whereabouts()),
            Phase::Lost(_) | Phase::Withdrawn => self.state.left.last().map(|fifo| fifo.whereabouts()),
        });
    }
}

impl State {
    /// Publishes anew what was lost.
    fn recover(&mut self, place: &Place) -> Result<(), Error> {
        self.remove_left();
        if let Phase::Lost(kept) = &self.phase {
            let kept = kept.clone();
            // Pipes that are kept for stranded readers take room as well.
            self.free_stranded();
            let path = &place.directory;
            let dir =
                if self.makes_directory { PipeDir::create(path)? } else { PipeDir::open_to_publish(path)? };
            self.makes_directory = dir.would_be_made_alike();
            let site = Site::establish(place, dir, kept.as_ref())?;
            self.path = site.path();
            // A byte of another name or directory is free from here on, after that of the new site was taken.
            self.phase = Phase::Published(site);
            // One that could not be removed until now may be what has the former name.
            self.remove_left();
        }
        Ok(())
    }

    /// Ends the present site, whose pipe readers do not find or cannot be given a successor.
    fn lose(&mut self) {
        if let Phase::Published(site) = &self.phase {
            let claim = Arc::clone(site.claim());
            // What the program closed is to be noticed before anything is opened anew.
            site.dir().is_open();
            let kept = claim.is_held().then_some(claim);
            self.leave(Phase::Lost(kept));
        }
    }

    /// Ends the present phase; a pipe that is published is removed and nobody waits on it any more.
    fn leave(&mut self, next: Phase) {
        // Without /proc the pipe is opened by its name, so the thread is woken before that is gone.
        let _ = self.release();
        // Held until the pipe is gone: its byte is part of it.
        let former = mem::replace(&mut self.phase, next);
        self.remove_left();
        if let Phase::Published(site) = &former {
            self.remove(Arc::clone(site.fifo()));
        }
    }

    /// Removes the pipes of former sites; tries again later where that is refused. One that is there at the end is swept
    /// as dead.
    fn remove_left(&mut self) {
        for fifo in mem::take(&mut self.left) {
            // Else the program closed our descriptors, and another file may be taken for it.
            if fifo.is_held() { self.remove(fifo) } else { self.retire(fifo) }
        }
    }

    /// Removes the pipe of a former site, or keeps it for a later attempt. One that cannot be seen may be there still.
    fn remove(&mut self, fifo: Arc<Fifo>) {
        if fifo.remove().is_ok() || !fifo.is_named().unwrap_or(true) {
            return self.retire(fifo);
        }
        fifo.free_stranded();
        self.left.push(fifo);
        if self.left.len() > MAX_LEFT {
            self.left.remove(0);
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
        self.retired.push_back((Instant::now(), fifo));
        while self.retired.len() > KEPT_RETIRED && self.until_oldest_is_stranded().is_zero() {
            self.retired.pop_front().inspect(|(_, oldest)| oldest.free_stranded());
        }
    }

    /// Returns how long readers may still be on their way to the oldest of the retired pipes.
    fn until_oldest_is_stranded(&self) -> Duration {
        let oldest = self.retired.front();
        oldest.map_or(Duration::ZERO, |(since, _)| STRANDED_AFTER.saturating_sub(since.elapsed()))
    }

    fn free_stranded(&mut self) {
        for _ in 0..self.retired.len() {
            let Some((since, fifo)) = self.retired.pop_front() else { return };
            if since.elapsed() < STRANDED_AFTER {
                return self.retired.push_front((since, fifo));
            }
            fifo.free_stranded();
        }
    }
}

#[cfg(test)]
mod tests;
