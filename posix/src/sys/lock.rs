//! A mutex lock that ignores poisoning.
//!
//! A panic can leave nothing half changed under any lock of this crate.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
