//! Locks that work in interrupts: critical sections.
//!
//! Owns all changes with interrupts off. A lock that waits in an interrupt would wait forever for the code that it
//! interrupted. The program chooses the implementation of critical sections (crate `critical-section`).

use core::cell::Cell;

use critical_section::Mutex;

use crate::sync::Ordering;

/// Mutex without data: interrupts are off while it is locked, and other cores are locked out.
pub(crate) struct RawMutex;

impl RawMutex {
    pub(crate) const fn new() -> Self {
        Self
    }

    pub(crate) fn with_lock<R>(&self, work: impl FnOnce() -> R) -> R {
        critical_section::with(|_| work())
    }
}

/// Small value that is changed in a critical section.
pub(crate) struct CriticalCell<T>(Mutex<Cell<T>>);

impl<T: Copy> CriticalCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(Mutex::new(Cell::new(value)))
    }

    /// Calls `f` in a critical section with a copy of the value, then stores the copy. `f` may use other cells, but
    /// not this one.
    #[inline]
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        critical_section::with(|section| {
            let cell = self.0.borrow(section);
            let mut value = cell.get();
            let result = f(&mut value);
            cell.set(value);
            result
        })
    }
}

/// 64-bit word on any processor, with the subset of the platform's interface that is used here.
pub(crate) struct AtomicU64(CriticalCell<u64>);

impl AtomicU64 {
    pub(crate) const fn new(value: u64) -> Self {
        Self(CriticalCell::new(value))
    }

    pub(crate) fn load(&self, _: Ordering) -> u64 {
        self.0.with(|value| *value)
    }

    pub(crate) fn fetch_add(&self, more: u64, _: Ordering) -> u64 {
        self.0.with(|value| core::mem::replace(value, value.wrapping_add(more)))
    }
}
