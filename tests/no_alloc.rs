//! Heap allocations of recording calls and snapshots: none, as a counting allocator proves.
//!
//! One test, because the allocator is global.

#![allow(unsafe_code, reason = "`GlobalAlloc` is an unsafe trait")]
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use statvent::line::MAX_OWN_LINE_BYTES;
use statvent::{incr, record, set};

thread_local! {
    static N_ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: the system's allocator does the work; counting touches no memory that it manages.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        N_ALLOCATIONS.set(N_ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of this function.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations_of(work: impl FnOnce()) -> u64 {
    let before = N_ALLOCATIONS.get();
    work();
    N_ALLOCATIONS.get() - before
}

fn call_everything(names: &[String]) {
    incr!("literal");
    incr!("literal", 2);
    set!("gauge", 1.5);
    record!("series.{0}", 3);
    for name in names {
        statvent::incr(name, 1);
        statvent::set(name, 0.5);
    }
    statvent::record("run-time.{0}", 4);
    statvent::counter("literal").incr(1);
    statvent::incr("", 1);
    assert!(statvent::try_set("", 1).is_err());
    assert!(statvent::get("literal").is_some());
}

fn read_everything(text: &mut [u8]) -> usize {
    let mut snapshot = statvent::GLOBAL.snapshot();
    let mut n_lines = 0;
    loop {
        match snapshot.fill(text).unwrap() {
            0 => return n_lines,
            n_bytes => n_lines += text[..n_bytes].iter().filter(|byte| **byte == b'\n').count(),
        }
    }
}

#[test]
fn calls_and_snapshots_never_allocate_from_the_first_use_on() {
    assert_eq!(allocations_of(|| drop(Vec::<u8>::with_capacity(100))), 1, "the allocator counts");

    let names: Vec<_> = (0..100).map(|idx| format!("name {idx}")).collect();
    assert_eq!(allocations_of(|| call_everything(&names)), 0, "first calls");
    assert_eq!(allocations_of(|| call_everything(&names)), 0, "later calls");

    let mut text = [0; MAX_OWN_LINE_BYTES];
    for round in ["first", "second"] {
        let mut n_lines = 0;
        assert_eq!(allocations_of(|| n_lines = read_everything(&mut text)), 0, "{round} snapshot");
        assert_eq!(n_lines, 2 + 100 + 10 + 1);
    }
}
