//! What a forked process makes of a registry that it inherits.
//!
//! Owns the order in which a registry's locks are held across `fork(2)`, and the return to zero. It knows no system:
//! whoever does calls these around each fork (`statvent-posix`, by `pthread_atfork(3)`).

use crate::backend::{RawMutex, shard_id};
use crate::snapshot::Reader;
use crate::sync::Ordering;

impl Reader<'_> {
    /// Waits until nobody is in the middle of registering a name or fetching samples, and keeps everybody out.
    ///
    /// Recording under names that are known goes on. Must be followed by [`after_fork_in_parent`] or, in the child,
    /// [`after_fork_in_child`]; until then no new name can be registered and nothing be read. Registries are to be held
    /// in the same order by all who hold more than one.
    ///
    /// [`after_fork_in_parent`]: Self::after_fork_in_parent
    /// [`after_fork_in_child`]: Self::after_fork_in_child
    pub fn before_fork(self) {
        self.mutexes.into_iter().for_each(RawMutex::lock);
    }

    /// Lets everybody in again.
    pub fn after_fork_in_parent(self) {
        self.mutexes.into_iter().rev().for_each(RawMutex::unlock);
    }

    /// Sets every stat to zero, empties every series and lets everybody in again; names stay, and a float stays a float.
    ///
    /// For the child alone, whose only thread calls it: the others were not copied, wherever they were. It calls
    /// nothing of the system and allocates nothing. Cost: it reads what was ever used of the registry and writes what is
    /// not zero.
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

/// Keeps threads from taking a shard until [`unfreeze_shard_allocation`] or, in the child, [`free_shards_of_parent`]: they share
/// one meanwhile. So the child knows of every shard that was written to.
///
/// To be called once around each fork, whatever the number of registries, after all of them are held.
pub fn freeze_shard_allocation() {
    shard_id::ALLOCATION.lock();
}

/// Lets threads take a shard again, in the parent.
pub fn unfreeze_shard_allocation() {
    shard_id::ALLOCATION.unlock();
}

/// Frees what the threads of the parent held, in a forked child: their shards are for the child's own threads.
///
/// For the child alone, before its first other thread, and after [`freeze_shard_allocation`].
pub fn free_shards_of_parent() {
    shard_id::free_other_ids();
    shard_id::ALLOCATION.unlock();
}
