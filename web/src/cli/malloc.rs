//! Settings of the C library's allocator for this process.
//!
//! They apply to the whole process, so the binary may change them, but not the library of this package. They are set
//! once, before any thread starts and before any large allocation.

use nix::libc::{M_ARENA_MAX, M_MMAP_THRESHOLD, mallopt};

use super::limits::MIN_MAPPED_BYTES;

/// Makes the allocator map large blocks one by one, and keep all other blocks in one heap.
///
/// By default the allocator raises its threshold for mapped blocks to the size of the largest freed one. Then a body that a
/// client has not received keeps the heap below it from shrinking, and each thread's heap has holes of its own: half of the
/// service's memory was such holes, in varying amounts. One heap is enough: two threads allocate, rarely at the same time.
pub(crate) fn configure_malloc() {
    for (setting, value) in [(M_MMAP_THRESHOLD, MIN_MAPPED_BYTES), (M_ARENA_MAX, 1)] {
        // If a setting is refused, the process takes more memory and works as well.
        // SAFETY: takes two integers and requires only that the setting is a known one.
        let _ = unsafe { mallopt(setting, value) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::hint::black_box;

    /// Below 32 MiB: larger blocks are always mapped.
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
    fn freed_memory_returns_to_the_system_also_the_second_time() {
        configure_malloc();
        // The first block is mapped in any case. By default, freeing it makes the allocator keep later ones of this size.
        drop(large());
        let second = large();
        let before_kb = resident_kb();
        drop(second);
        let after_kb = resident_kb();
        assert!(after_kb + LARGE_KB / 2 < before_kb, "{before_kb} kB before, {after_kb} kB after");
    }
}
