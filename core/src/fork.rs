//! Registries and shards across `fork(2)`.
//!
//! Owns the order of a registry's locks across a fork, and its reset in the child. It makes no system call: the
//! caller runs these functions around each fork (`statvent-posix` does it through `pthread_atfork(3)`).

use crate::backend::{RawMutex, shard_id};
use crate::snapshot::Reader;
use crate::sync::Ordering;

impl Reader<'_> {
    /// Locks out registrations of names and readers, after waiting for those that are running.
    ///
    /// Recording under known names continues. Call [`after_fork_in_parent`] afterwards, or [`after_fork_in_child`]
    /// in the child; until then no new name can be registered and nothing can be read. All callers that lock
    /// several registries must lock them in the same order.
    ///
    /// [`after_fork_in_parent`]: Self::after_fork_in_parent
    /// [`after_fork_in_child`]: Self::after_fork_in_child
    pub fn before_fork(self) {
        self.mutexes.into_iter().for_each(RawMutex::lock);
    }

    /// Lets registrations and readers continue.
    pub fn after_fork_in_parent(self) {
        self.mutexes.into_iter().rev().for_each(RawMutex::unlock);
    }

    /// Sets every stat to zero, empties every series, then lets registrations and readers continue. Names stay, and
    /// a float stays a float.
    ///
    /// Only for the child, from its only thread: fork copies no other thread, wherever it was. Makes no system call
    /// and allocates nothing. Cost: reads all parts of the registry that were ever used, and writes only words that
    /// are not zero.
    ///
    /// ```
    /// use statvent_core::{Reader, Registry, Value};
    ///
    /// static STATS: Registry<8, 0, 0, 4> = Registry::new();
    /// STATS.try_incr_literal("requests", 2)?;
    /// let reader = Reader::from(&STATS);
    /// reader.before_fork();
    /// // Here the process would be forked.
    /// reader.after_fork_in_child();
    /// assert_eq!(STATS.get("requests"), Some(Value::Int(0)));
    /// # Ok::<(), statvent_core::RecordError>(())
    /// ```
    pub fn after_fork_in_child(self) {
        self.stats.reset(self.stat_names.len());
        self.samples.reset(self.series_names.len());
        self.rejected.store(0, Ordering::Relaxed);
        self.after_fork_in_parent();
    }
}

/// Stops the allocation of shards until [`unfreeze_shard_allocation`] or, in the child, [`free_shards_of_parent`].
/// Threads without a shard use the shared words in the meantime. So the child knows every shard that was written
/// to.
///
/// Call it once per fork for any number of registries, after [`Reader::before_fork`] of all of them.
pub fn freeze_shard_allocation() {
    shard_id::ALLOCATION.lock();
}

/// Allows the allocation of shards again, in the parent.
pub fn unfreeze_shard_allocation() {
    shard_id::ALLOCATION.unlock();
}

/// Frees the shards of the parent's threads in a forked child, so that the child's own threads can take them.
///
/// Only for the child, after [`freeze_shard_allocation`] and before it starts a thread.
pub fn free_shards_of_parent() {
    shard_id::free_other_ids();
    shard_id::ALLOCATION.unlock();
}
