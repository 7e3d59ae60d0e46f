//! A fixed array that only grows: what was published never moves or changes, so it is read without a lock.
//!
//! Owns the storage of names (see `arena` and `directory`). Its writers take turns; its readers never wait.
//!
//! Invariant: slots below `len` are initialised and never written again; slots at or above `len` belong to the
//! one [`Appender`]. It fills slots, then raises `len` (Release); a reader loads `len` (Acquire), then reads below it.

#![allow(unsafe_code, reason = "shared references into an array that another thread is appending to")]

use core::mem::MaybeUninit;
use core::ops::Range;

use crate::backend::RawMutex;
use crate::sync::{AtomicU32, Ordering, OwnerLoad, const_new, filled};

/// The array, at most `N` long.
pub(crate) struct AppendVec<T, const N: usize> {
    /// Keeps other appenders out while held.
    pub(crate) mutex: RawMutex,
    len: AtomicU32,
    slots: [Slot<T>; N],
}

/// In this order, so that a slot's address is its value's.
#[repr(C)]
struct Slot<T> {
    value: core::cell::UnsafeCell<MaybeUninit<T>>,
    /// Lets the model checker see who touches the value and when.
    #[cfg(loom)]
    tracker: loom::cell::UnsafeCell<()>,
}

// SAFETY: shared slots are only read, by `AppendVecView`; the writing half is the `Appender`, of which there is
// one at a time, and which touches no slot that a reader may read.
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

    /// Calls `work` with the right to append, while no other has it. Not to be called again from within `work`.
    pub(crate) fn append<R>(&self, work: impl FnOnce(&mut Appender<'_, T>) -> R) -> R {
        self.mutex.with_lock(|| work(&mut Appender(self.view())))
    }

    pub(crate) fn view(&self) -> AppendVecView<'_, T> {
        AppendVecView { len: &self.len, slots: &self.slots }
    }
}

/// The writing half: given to one caller at a time, by [`AppendVec::append`] alone.
pub(crate) struct Appender<'r, T>(AppendVecView<'r, T>);

impl<T: Copy> Appender<'_, T> {
    /// Returns the next index to be appended.
    pub(crate) fn next_idx(&self) -> usize {
        // Last written by an appender before us.
        self.0.len.load_own() as usize
    }

    /// Appends all of `values`, or nothing when they do not fit, and says where they are.
    pub(crate) fn push_all(&mut self, values: &[T]) -> Option<Range<usize>> {
        let range = self.next_idx()..self.next_idx().checked_add(values.len())?;
        for (slot, value) in self.0.slots.get(range.clone())?.iter().zip(values) {
            #[cfg(loom)]
            slot.tracker.with_mut(|_| ());
            // SAFETY: the slot is at or above `len`, so no reader looks at it, and there is no other appender.
            unsafe { slot.value.get().write(MaybeUninit::new(*value)) };
        }
        // Release pairs with the Acquire in `AppendVecView::len`.
        self.0.len.store(range.end as u32, Ordering::Release);
        Some(range)
    }
}

/// The reading half, without the capacity in its type.
#[derive(Clone, Copy)]
pub(crate) struct AppendVecView<'r, T> {
    len: &'r AtomicU32,
    slots: &'r [Slot<T>],
}

impl<'r, T: Copy> AppendVecView<'r, T> {
    /// Returns how many are published by now. What a caller saw published stays.
    #[inline]
    pub(crate) fn len(self) -> usize {
        // Acquire pairs with the Release in `push_all`: the slots below are initialised for us.
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

    /// Returns the published part of `range`, which is empty unless all of it is.
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
        // SAFETY: a slot has the layout of its value, but under the model checker, which reads single slots. All
        // of them are below `len`, thus initialised, and never written again, so a shared slice of them may live
        // as long as the array.
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
    fn what_fits_is_published_whole_and_what_does_not_is_not_begun() {
        let array = AppendVec::<u8, 4>::new();
        assert_eq!(push(&array, b"abc"), Some(0..3));
        assert_eq!(push(&array, b"de"), None);
        assert_eq!(push(&array, b"d"), Some(3..4));
        assert_eq!(array.view().slice(0..4), b"abcd");
    }

    #[test]
    fn nothing_is_seen_beyond_what_was_published() {
        let array = AppendVec::<u8, 4>::new();
        push(&array, b"ab");
        assert_eq!(array.view().slice(1..3), b"");
        assert_eq!(array.view().get(2), None);
        assert_eq!(array.view().get(usize::MAX), None);
        assert_eq!(array.view().get(1), Some(&b'b'));
    }

    #[test]
    fn an_array_without_room_takes_nothing() {
        let array = AppendVec::<u8, 0>::new();
        assert_eq!(push(&array, b"a"), None);
        assert_eq!(array.view().len(), 0);
    }
}
