//! Identity of a process: tells a forked child from its parent.
//!
//! Owns the count of forks. It does not know which code forks.

use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

static N_FORKS: AtomicU32 = AtomicU32::new(0);

/// Returns a number that differs between this process and all its ancestors; never 0. Async-signal-safe.
///
/// It consists of two parts. The pid differs after a bare `clone(2)`, which runs no fork handlers. The count of
/// forks differs also if the pid does not: a child in a new pid namespace may have its parent's pid.
pub(crate) fn process_generation() -> u64 {
    // Relaxed: it changes in the child's only thread, before any other thread exists.
    u64::from(process::id()) << 32 | u64::from(N_FORKS.load(Ordering::Relaxed))
}

/// Starts a new generation, in a forked child.
pub(crate) fn start_generation() {
    N_FORKS.fetch_add(1, Ordering::Relaxed);
}
