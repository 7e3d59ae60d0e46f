//! Locks where interrupts may come between: critical sections.
//!
//! Owns how values are changed with interrupts off. A lock that waits would wait for ever in an interrupt, for what it
//! interrupted. How a critical section is made is the program's choice (crate `critical-section`).

use core::cell::Cell;

use critical_section::Mutex;

use crate::sync::Ordering;

/// Lets one in at a time: interrupts are off meanwhile, and other cores kept out.
pub(crate) struct RawMutex;

impl RawMutex {
    pub(crate) const fn new() -> Self {
        Self
    }

    pub(crate) fn with_lock<R>(&self, work: impl FnOnce() -> R) -> R {
        critical_section::with(|_| work())
    }
}

/// A small value that is changed in a critical section.
pub(crate) struct CriticalCell<T>(Mutex<Cell<T>>);

impl<T: Copy> CriticalCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(Mutex::new(Cell::new(value)))
    }

    /// Calls `f` alone with a copy of the value, which then takes the value's place. Other locks may be taken within
    /// `f`, and this one not.
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

/// A 64-bit word on any processor, with the part of the platform's interface that is used here.
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
