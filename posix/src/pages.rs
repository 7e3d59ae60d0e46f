//! Advice to the system about a registry's memory.
//!
//! Owns that one system call. Called by `fork` when a registry begins to follow it: before `main` for the
//! global one, and at the latest when a recorder starts.
#![allow(unsafe_code, reason = "advice about memory has no safe wrapper")]

use nix::unistd::{SysconfVar, sysconf};
use statvent_core::MemoryRegion;

/// Keeps a registry off huge pages (`madvise(2)` with `MADV_NOHUGEPAGE`), where the system would use them unasked.
///
/// A registry is large and used here and there: with huge pages one stat of one thread would take 2 MiB. A refusal
/// costs memory, nothing else. What was touched before may be on a huge page already.
pub(crate) fn keep_off_huge_pages(memory: MemoryRegion) {
    let page_bytes =
        sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| usize::try_from(size).ok());
    let Some(page_bytes) = page_bytes else { return };
    // Whole pages within: what shares its first or last page with others is theirs as well.
    let start = memory.address.next_multiple_of(page_bytes);
    let end = (memory.address + memory.n_bytes) / page_bytes * page_bytes;
    if start < end {
        // SAFETY: this advice changes no byte and no permission, and the range lies within a registry that lives as
        // long as the program.
        unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_NOHUGEPAGE) };
    }
}
