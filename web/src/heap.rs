//! How this process takes memory from the system and gives it back.
//!
//! Owns the settings of the C library's allocator, which are the whole process's: the library half of this package must
//! not touch them. Called once by the binary, before anything large is allocated and before there are threads.

use nix::libc::{M_ARENA_MAX, M_MMAP_THRESHOLD, c_int, mallopt};

/// Larger than a block of a reading, and smaller than all that lives as long as a collection or as an answer.
const MIN_BYTES_MAPPED: c_int = 64 << 10;

/// Has large blocks mapped one by one, so that they are given back when they are freed, and all others in one heap.
///
/// Left to itself, the allocator keeps blocks in its heaps that are as large as the largest freed before: then one answer
/// that is not taken holds everything below it, and each thread's heap has holes of its own. Half of what the service took
/// was such holes, now more, now less. Two threads here allocate, rarely at once.
pub(crate) fn keep_small() {
    for (setting, value) in [(M_MMAP_THRESHOLD, MIN_BYTES_MAPPED), (M_ARENA_MAX, 1)] {
        // What is refused stays as it is, which takes more memory and does no harm.
        // SAFETY: takes two numbers and has no requirement but a known setting.
        let _ = unsafe { mallopt(setting, value) };
    }
}
