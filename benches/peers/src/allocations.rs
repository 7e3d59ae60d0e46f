//! The global allocator: the system's allocator, with a count of the requests of each thread.
//!
//! Every contender runs on it, so its cost, one addition to a thread-local, is part of every allocating call.

#![allow(unsafe_code, reason = "`GlobalAlloc` is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static N_ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Number of requests to the allocator that `work` makes on this thread.
pub(crate) fn allocations_of(work: impl FnOnce()) -> u64 {
    let before = N_ALLOCATIONS.get();
    work();
    N_ALLOCATIONS.get() - before
}

fn count() {
    N_ALLOCATIONS.set(N_ALLOCATIONS.get() + 1);
}

// SAFETY: the system's allocator does the work. Counting touches no memory that it manages and allocates nothing, as the
// thread-local has a constant initial value and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of this function.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of this function.
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of this function.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    #[test]
    fn every_kind_of_allocation_counts_once() {
        assert_eq!(allocations_of(|| drop(black_box(Box::new(1)))), 1);
        assert_eq!(allocations_of(|| drop(black_box(vec![0_u8; 100]))), 1);
        let mut bytes = Vec::with_capacity(1);
        assert_eq!(allocations_of(|| bytes.extend_from_slice(black_box(&[1_u8; 100]))), 1);
        assert_eq!(allocations_of(|| ()), 0);
    }
}
