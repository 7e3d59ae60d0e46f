//! Brings an address into one register before it is read and written.
//!
//! Owns that one trick. Called by what a thread writes by itself: `shard` and `thread_ring`.
//!
//! Recent x86-64 processors forward what was stored to the next load without going through the cache, in no time at
//! all, if both name the address by one register alone. By two (base and index), as the compiler likes to,
//! an increment of the same word as before waits for the cache: some 2 ns instead of 0.3 to 0.6. `benches/peers` has
//! both beside each other (`own word` is what the compiler likes). There is no way to ask the compiler for it.

#![allow(unsafe_code, reason = "hides how an address was computed; benches/peers shows what for")]

/// Returns the value, computed into a register before it is stored, and not by an addition to memory, which waits too.
#[inline(always)]
pub(crate) fn opaque_i64(value: i64) -> i64 {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        let mut value = value;
        // SAFETY: the assembly is empty; it touches neither memory nor stack nor flags, and returns what it is given.
        unsafe {
            core::arch::asm!("/* {0} */", inout(reg) value, options(pure, nomem, nostack, preserves_flags));
        }
        value
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    value
}

/// Returns the reference, computed into a register of its own.
#[inline(always)]
pub(crate) fn opaque_ref<T>(reference: &T) -> &T {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        let mut address: *const T = reference;
        #[expect(clippy::pointers_in_nomem_asm_block, reason = "nothing is read through it")]
        // SAFETY: the assembly is empty; it touches neither memory nor stack nor flags, and returns what it is given.
        unsafe {
            core::arch::asm!("/* {0} */", inout(reg) address, options(pure, nomem, nostack, preserves_flags));
        }
        // SAFETY: the address is that of `reference`, for as long.
        unsafe { &*address }
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    reference
}
