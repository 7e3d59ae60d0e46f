//! How this process takes memory from the system and gives it back.
//!
//! Owns the settings of the C library's allocator, which are the whole process's: the library half of this package must
//! not touch them. It is done once, before anything large is allocated and before there are threads.

use nix::libc::{M_ARENA_MAX, M_MMAP_THRESHOLD, c_int, mallopt};

/// More than a block of a reading takes; what large answers and collections take at once is larger.
const MIN_BYTES_MAPPED: c_int = 64 << 10;

/// Has large blocks mapped one by one, so that they are given back when they are freed, and all others in one heap.
///
/// Left to itself, the allocator keeps blocks in its heaps that are as large as the largest freed before: then one answer
/// that is not taken holds everything below it, and each thread's heap has holes of its own. Half of what the service took
/// was such holes, now more, now less. Two threads here allocate, rarely at once.
pub(crate) fn configure_malloc() {
    for (setting, value) in [(M_MMAP_THRESHOLD, MIN_BYTES_MAPPED), (M_ARENA_MAX, 1)] {
        // What is refused stays as it is, which takes more memory and does no harm.
        // SAFETY: takes two numbers and has no requirement but a known setting.
        let _ = unsafe { mallopt(setting, value) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::hint::black_box;

    /// Below 32 MiB, beyond which blocks are mapped in any case.
    const LARGE_KB: usize = 16 << 10;

    fn large() -> Vec<u8> {
        black_box(vec![1; LARGE_KB << 10])
    }

    fn resident_kb() -> usize {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn what_is_freed_is_given_back_also_the_second_time() {
        configure_malloc();
        // Mapped in any case; left to itself, the allocator keeps blocks of this size from now on.
        drop(large());
        let again = large();
        let before_kb = resident_kb();
        drop(again);
        let after_kb = resident_kb();
        assert!(after_kb + LARGE_KB / 2 < before_kb, "{before_kb} kB before, {after_kb} kB after");
    }
}
