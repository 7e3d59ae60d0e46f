//! Endpoint of a recorder: its published pipe, as a state machine behind one mutex.
//!
//! Owns the lock under which the pipe changes: by a read, by a health check, and at the end. While it is held, nothing is read
//! or written and no reader is waited for.

use crate::dir::PipeDir;
use crate::error::Error;
use crate::liveness::LivenessLock;
use crate::pipe::fifo::Fifo;
use crate::process::cleanup_table::CleanupSlot;
use crate::process::generation::process_generation;
use crate::process::signals::BlockedSignals;
use crate::recorder::pipe_slot::{EndpointConfig, PipeSlot};
use crate::recorder::retired::RetiredPipes;
use crate::sys::lock::lock;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use std::{io, mem};

/// The published pipe of a recorder, shared by its threads.
#[derive(Debug)]
pub(crate) struct Endpoint {
    config: EndpointConfig,
    /// The process that created it. A forked child has a copy, and must not touch the files.
    generation: u64,
    /// Records what a fatal signal must remove; `None` if the pipe stays then.
    cleanup_slot: Option<&'static CleanupSlot>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// The path of the current pipe, or of the last one.
    path: PathBuf,
    /// Whether to create the directory again if it was removed. `false` if another user set it up, or if it was for several users.
    creates_dir: bool,
    /// The pipe on which the serving thread waits for a reader.
    waiting_on: Option<Arc<Fifo>>,
    retired: RetiredPipes,
}

#[derive(Debug)]
enum Phase {
    Published(PipeSlot),
    /// The pipe must be removed: readers do not find it, or it served a reader and could not be swapped.
    Removing(PipeSlot),
    /// Must be published again. Holds the lock byte of the last pipe meanwhile, so that readers do not take us for dead.
    Unpublished(Option<Arc<LivenessLock>>),
    /// Is never published again.
    Closed,
}

/// The locked state, while files may change. A fatal signal waits for the end of the change, and is never handled on this
/// thread.
struct StateGuard<'a> {
    // Fields drop in this order, after `drop`: unlock the state, then unblock the signals.
    state: MutexGuard<'a, State>,
    cleanup_slot: Option<&'static CleanupSlot>,
    _blocked_signals: Option<BlockedSignals>,
}

/// Result of a swap for the pipe that a reader has opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Swap {
    /// The pipe is retired or about to be removed: serve its reader.
    Done,
    /// The pipe was not the published one any more: serve no reader.
    NotPublished,
}

impl Endpoint {
    /// Publishes the first pipe. `cleanup_slot` records what a fatal signal must remove.
    pub(crate) fn publish(
        config: EndpointConfig,
        cleanup_slot: Option<&'static CleanupSlot>,
    ) -> Result<Self, Error> {
        let state = State {
            phase: Phase::Unpublished(None),
            path: config.directory.clone(),
            creates_dir: true,
            waiting_on: None,
            retired: RetiredPipes::default(),
        };
        let endpoint =
            Self { config, generation: process_generation(), cleanup_slot, state: Mutex::new(state) };
        endpoint.lock_state().state.republish(&endpoint.config)?;
        Ok(endpoint)
    }

    /// Returns whether this process created it, and not the process that it was forked from.
    pub(crate) fn created_by_this_process(&self) -> bool {
        self.generation == process_generation()
    }

    /// Returns the path of the current pipe, or of the last one. In a forked child it may be the directory only.
    pub(crate) fn path(&self) -> PathBuf {
        if self.created_by_this_process() {
            return lock(&self.state).path.clone();
        }
        // The thread that held the lock during the fork does not exist here.
        self.state.try_lock().map_or_else(|_| self.config.directory.clone(), |state| state.path.clone())
    }

    /// Returns how long to wait before accepting the next reader: zero, unless so many readers came within the grace period
    /// that a pipe would be dropped which a reader may still open.
    pub(crate) fn delay_before_next_reader(&self) -> Duration {
        let state = lock(&self.state);
        if state.retired.is_full() { state.retired.grace_left() } else { Duration::ZERO }
    }

    /// Returns the pipe on which to wait for a reader. Publishes first if necessary. `None` if it is closed.
    ///
    /// # Errors
    /// It is unpublished, and publishing fails.
    pub(crate) fn next_pipe(&self) -> Result<Option<Arc<Fifo>>, Error> {
        let mut guard = self.lock_state();
        let state = &mut *guard.state;
        state.republish(&self.config)?;
        let Phase::Published(slot) = &state.phase else { return Ok(None) };
        state.waiting_on = Some(Arc::clone(&slot.fifo));
        Ok(state.waiting_on.clone())
    }

    /// Swaps the pipe that a reader has opened for a fresh one. If that fails, unpublishes it.
    pub(crate) fn swap(&self, opened: &Arc<Fifo>) -> Swap {
        let mut guard = self.lock_state();
        let state = &mut *guard.state;
        state.waiting_on = None;
        let Phase::Published(slot) = &mut state.phase else { return Swap::NotPublished };
        if !Arc::ptr_eq(&slot.fifo, opened) {
            return Swap::NotPublished;
        }
        match slot.swap() {
            Ok(retired) => state.retired.push(retired),
            Err(_) => {
                state.unpublish();
                // The serving thread's next attempt reports the error.
                let _ = state.republish(&self.config);
            }
        }
        Swap::Done
    }

    /// Performs a health check: publishes again if readers do not find the pipe, and releases stranded readers.
    pub(crate) fn health_check(&self) {
        let mut guard = self.lock_state();
        let state = &mut *guard.state;
        if matches!(&state.phase, Phase::Published(slot) if !slot.is_intact()) {
            state.unpublish();
        }
        // The serving thread tries as well, and reports the error.
        let _ = state.republish(&self.config);
        if let Some(fifo) = &state.waiting_on
            && !matches!(&state.phase, Phase::Published(slot) if Arc::ptr_eq(&slot.fifo, fifo))
        {
            // `unpublish` tried this already, but it fails without a free descriptor.
            let _ = fifo.wake();
        }
        state.retired.release_expired(0);
    }

    /// Removes the pipe, publishes no other one, wakes the serving thread, and gives an end of file to readers that are stranded
    /// on retired pipes, because no health check will come. Does nothing in a forked child.
    ///
    /// A reader that is just now between looking up the name and opening the pipe is released by a further call.
    ///
    /// # Errors
    /// Waking the thread failed without a free descriptor: call again.
    pub(crate) fn close(&self) -> io::Result<()> {
        if !self.created_by_this_process() {
            return Ok(());
        }
        let mut guard = self.lock_state();
        let state = &mut *guard.state;
        state.unpublish();
        // If this fails, the pipe stays until a sweeper removes it.
        let _ = state.remove_pipe();
        state.phase = Phase::Closed;
        state.retired.release_readers();
        state.wake_serving_thread()
    }

    fn lock_state(&self) -> StateGuard<'_> {
        // First the signals, then the lock: the handler must never run on a thread that holds the lock.
        let blocked_signals = self.cleanup_slot.map(|_| BlockedSignals::new());
        let state = lock(&self.state);
        self.cleanup_slot.inspect(|slot| slot.begin_change());
        StateGuard { state, cleanup_slot: self.cleanup_slot, _blocked_signals: blocked_signals }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if let Some(slot) = self.cleanup_slot
            && self.created_by_this_process()
        {
            slot.release();
        }
    }
}

impl Drop for StateGuard<'_> {
    fn drop(&mut self) {
        let Some(cleanup_slot) = self.cleanup_slot else { return };
        cleanup_slot.end_change(match &self.state.phase {
            Phase::Published(slot) | Phase::Removing(slot) => Some(slot.fifo.location()),
            Phase::Unpublished(_) | Phase::Closed => None,
        });
    }
}

impl State {
    /// Removes a pipe that must be removed, and publishes a fresh one if none is published.
    fn republish(&mut self, config: &EndpointConfig) -> Result<(), Error> {
        let path = &config.directory;
        self.remove_pipe().map_err(|source| Error::Pipe { path: path.clone(), source })?;
        let Phase::Unpublished(kept) = &self.phase else { return Ok(()) };
        let kept = kept.clone();
        // Retired pipes take descriptors, and space in a small file system.
        self.retired.release_expired(0);
        let dir = if self.creates_dir { PipeDir::create(path)? } else { PipeDir::open_to_publish(path)? };
        self.creates_dir = dir.is_recreatable();
        let slot = PipeSlot::acquire(config, dir, kept.as_ref())?;
        self.path = slot.path();
        // This drops the old lock byte if the name or directory changed. The new one is locked already.
        self.phase = Phase::Published(slot);
        Ok(())
    }

    /// Marks the published pipe for removal, and wakes the serving thread.
    fn unpublish(&mut self) {
        // Before the removal: without /proc, waking the thread needs the pipe's name.
        let _ = self.wake_serving_thread();
        self.phase = match mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Published(slot) => Phase::Removing(slot),
            other => other,
        };
    }

    /// Removes the pipe that is marked for removal, if any.
    fn remove_pipe(&mut self) -> io::Result<()> {
        let Phase::Removing(slot) = &self.phase else { return Ok(()) };
        slot.remove_pipe()?;
        let (fifo, liveness_lock) = (Arc::clone(&slot.fifo), Arc::clone(&slot.liveness_lock));
        // Locked until the pipe is gone: a pipe without its lock byte counts as dead.
        self.phase = Phase::Unpublished(liveness_lock.is_held().then_some(liveness_lock));
        self.retired.push(fifo);
        Ok(())
    }

    /// Wakes the serving thread if it waits for a reader.
    fn wake_serving_thread(&self) -> io::Result<()> {
        self.waiting_on.as_ref().map_or(Ok(()), |fifo| fifo.wake())
    }
}

#[cfg(test)]
mod tests;
