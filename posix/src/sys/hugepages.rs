//! Advice to the kernel to keep a registry's memory off huge pages.
//!
//! Owns that one system call.
#![allow(unsafe_code, reason = "advice about memory has no safe wrapper")]

use nix::unistd::{SysconfVar, sysconf};
use statvent_core::MemoryRegion;

/// Keeps a registry off transparent huge pages (`madvise(2)` with `MADV_NOHUGEPAGE`).
///
/// A registry is large and sparsely used. With huge pages, one stat of one thread would take 2 MiB. If the kernel refuses,
/// the registry takes more memory, and nothing else changes. Memory that was touched before may be on a huge page already.
pub(crate) fn disable_huge_pages(memory: MemoryRegion) {
    let page_bytes =
        sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| usize::try_from(size).ok());
    let Some(page_bytes) = page_bytes else { return };
    // Only whole pages of the registry: its first and last page may hold other data as well.
    let start = memory.address.next_multiple_of(page_bytes);
    let end = (memory.address + memory.n_bytes) / page_bytes * page_bytes;
    if start < end {
        // SAFETY: this advice changes no byte and no permission, and the range lies within a registry that lives as
        // long as the program.
        unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_NOHUGEPAGE) };
    }
}
