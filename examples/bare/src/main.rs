//! A program with stats, but without `std`, `alloc` and heap.
//!
//! It uses the C library's entry point and `write`; a firmware would use its own. The exit status is 0 if the text and the
//! JSON are as expected, else 1.

#![no_std]
#![no_main]

use statvent::{Registry, incr, record, set};

static STATS: Registry<16, 1, 64> = Registry::new();

const EXPECTED: &[u8] = b"ticks: 3\nlevel: 0.5\nby name: 7\n\
    t.median: 1.0\nt.95th: 2.0\nt.99th: 2.0\nt.100th: 3.0\nt.mean: 2.0\n";

// SAFETY: both declarations are those of the C library.
#[link(name = "c")]
unsafe extern "C" {
    fn write(descriptor: i32, bytes: *const u8, n_bytes: usize) -> isize;
    fn abort() -> !;
}

#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    for tick in 1..=3 {
        incr!(STATS, "ticks");
        record!(STATS, "t.{0}", tick);
    }
    set!(STATS, "level", 0.5f32);
    STATS.incr("by name", 7);

    let mut text = [0; 256];
    let Ok(n_bytes) = STATS.snapshot().fill(&mut text) else { return 1 };
    // SAFETY: the pointer and the length are those of one slice.
    unsafe { write(1, text.as_ptr(), n_bytes) };

    let mut json = [0; 256];
    let is_json = STATS.reader().write_json(&mut json).is_ok_and(|n_bytes| json[..n_bytes].ends_with(b"}"));
    if text[..n_bytes] == *EXPECTED && is_json { 0 } else { 1 }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: it has no precondition.
    unsafe { abort() }
}

/// The unwind tables of the compiled `core` refer to this symbol. Nothing unwinds here.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
