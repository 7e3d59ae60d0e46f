//! Append-only array of fixed capacity that is read without a lock.
//!
//! Owns the storage that `arena` and `directory` build on. Writers exclude each other; readers never wait.
//!
//! Invariant: slots below `len` are initialised and never written again. Slots from `len` on belong to the only
//! [`Appender`]. It fills slots, then raises `len` (Release). A reader loads `len` (Acquire), then reads below it.
//! So published elements never move or change.

#![allow(unsafe_code, reason = "shared references into an array that another thread appends to")]

use core::mem::MaybeUninit;
use core::ops::Range;

use crate::backend::RawMutex;
use crate::sync::{AtomicU32, Ordering, OwnerLoad, const_new, filled};

/// Array of at most `N` elements.
pub(crate) struct AppendVec<T, const N: usize> {
    /// Locked by the current appender.
    pub(crate) mutex: RawMutex,
    len: AtomicU32,
    slots: [Slot<T>; N],
}

/// `repr(C)` with the value first: a slot and its value have the same address.
#[repr(C)]
struct Slot<T> {
    value: core::cell::UnsafeCell<MaybeUninit<T>>,
    /// Shows accesses to the value to the model checker.
    #[cfg(loom)]
    tracker: loom::cell::UnsafeCell<()>,
}

// SAFETY: shared slots are only read, by `AppendVecView`. Writing is only possible through the `Appender`. There is
// one at a time, and it never touches a slot that readers may read.
unsafe impl<T: Send + Sync> Sync for Slot<T> {}

impl<T> Slot<T> {
    const_new! {
        fn new() -> Self {
            Self {
                value: core::cell::UnsafeCell::new(MaybeUninit::uninit()),
                #[cfg(loom)]
                tracker: loom::cell::UnsafeCell::new(()),
            }
        }
    }
}

impl<T: Copy, const N: usize> AppendVec<T, N> {
    const_new! {
        pub(crate) fn new() -> Self {
            const { assert!(size_of::<T>() != 0 && N <= u32::MAX as usize) };
            Self { mutex: RawMutex::new(), len: AtomicU32::new(0), slots: filled![Slot::new(); N] }
        }
    }

    /// Calls `work` with the only [`Appender`]. `work` must not append to the same array again: that would
    /// deadlock.
    pub(crate) fn append<R>(&self, work: impl FnOnce(&mut Appender<'_, T>) -> R) -> R {
        self.mutex.with_lock(|| work(&mut Appender(self.view())))
    }

    pub(crate) fn view(&self) -> AppendVecView<'_, T> {
        AppendVecView { len: &self.len, slots: &self.slots }
    }
}

/// Writer of the array. Only [`AppendVec::append`] creates it, for one caller at a time.
pub(crate) struct Appender<'r, T>(AppendVecView<'r, T>);

impl<T: Copy> Appender<'_, T> {
    /// Returns the index of the next element.
    pub(crate) fn next_idx(&self) -> usize {
        // Only appenders write it, and this is the only one.
        self.0.len.load_own() as usize
    }

    /// Appends all of `values` and returns their range, or appends nothing if they do not fit.
    pub(crate) fn push_all(&mut self, values: &[T]) -> Option<Range<usize>> {
        let range = self.next_idx()..self.next_idx().checked_add(values.len())?;
        for (slot, value) in self.0.slots.get(range.clone())?.iter().zip(values) {
            #[cfg(loom)]
            slot.tracker.with_mut(|_| ());
            // SAFETY: the slot is at or above `len`, so no reader accesses it, and there is no other appender.
            unsafe { slot.value.get().write(MaybeUninit::new(*value)) };
        }
        // Release pairs with the Acquire in `AppendVecView::len`.
        self.0.len.store(range.end as u32, Ordering::Release);
        Some(range)
    }
}

/// Reader of the array, without the capacity in its type.
#[derive(Clone, Copy)]
pub(crate) struct AppendVecView<'r, T> {
    len: &'r AtomicU32,
    slots: &'r [Slot<T>],
}

impl<'r, T: Copy> AppendVecView<'r, T> {
    /// Returns the number of published elements. It never decreases.
    #[inline]
    pub(crate) fn len(self) -> usize {
        // Acquire pairs with the Release in `push_all`: all slots below are initialised for this thread.
        self.len.load(Ordering::Acquire) as usize
    }

    #[inline]
    pub(crate) fn get(self, idx: usize) -> Option<&'r T> {
        let slot = self.slots.get(idx)?;
        if idx >= self.len() {
            return None;
        }
        #[cfg(loom)]
        slot.tracker.with(|_| ());
        // SAFETY: the slot is below `len`, thus initialised, and never written again.
        let value = unsafe { &*slot.value.get() };
        // SAFETY: as above.
        Some(unsafe { value.assume_init_ref() })
    }

    /// Returns the elements of `range`, or an empty slice if one of them is not published.
    pub(crate) fn slice(self, range: Range<usize>) -> &'r [T] {
        let end = range.end;
        let Some(slots) = self.slots.get(range) else { return &[] };
        if end > self.len() {
            return &[];
        }
        #[cfg(loom)]
        for slot in slots {
            slot.tracker.with(|_| ());
        }
        // SAFETY: a slot has the layout of its value, except under the model checker, which uses only `get`. All
        // slots are below `len`, so they are initialised and never written again, and a shared slice of them may
        // live as long as the array.
        unsafe { core::slice::from_raw_parts(slots.as_ptr().cast::<T>(), slots.len()) }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn push<const N: usize>(array: &AppendVec<u8, N>, values: &[u8]) -> Option<Range<usize>> {
        array.append(|bytes| bytes.push_all(values))
    }

    #[test]
    fn values_are_published_completely_or_not_at_all() {
        let array = AppendVec::<u8, 4>::new();
        assert_eq!(push(&array, b"abc"), Some(0..3));
        assert_eq!(push(&array, b"de"), None);
        assert_eq!(push(&array, b"d"), Some(3..4));
        assert_eq!(array.view().slice(0..4), b"abcd");
    }

    #[test]
    fn readers_see_only_published_elements() {
        let array = AppendVec::<u8, 4>::new();
        push(&array, b"ab");
        assert_eq!(array.view().slice(1..3), b"");
        assert_eq!(array.view().get(2), None);
        assert_eq!(array.view().get(usize::MAX), None);
        assert_eq!(array.view().get(1), Some(&b'b'));
    }

    #[test]
    fn an_array_of_capacity_zero_stores_nothing() {
        let array = AppendVec::<u8, 0>::new();
        assert_eq!(push(&array, b"a"), None);
        assert_eq!(array.view().len(), 0);
    }
}
