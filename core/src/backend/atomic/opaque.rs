//! Optimisation barriers that force a value or an address into a register.
//!
//! Owns these barriers and nothing else.
//!
//! Recent x86-64 processors forward a store to the next load in no time, without the cache, if both address the
//! word through a single register. With two registers (base and index), which the compiler prefers, a second
//! increment of the same word waits for the cache: about 2 ns instead of 0.3 to 0.6. `benches/peers` compares both
//! (`own word` is the compiler's version). The compiler has no option for it.

#![allow(unsafe_code, reason = "hides how an address was computed; benches/peers measures the gain")]

/// Returns the value in a register, so that it is stored from there. An addition to memory would wait as well.
#[inline(always)]
pub(crate) fn opaque_i64(value: i64) -> i64 {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        let mut value = value;
        // SAFETY: the assembly is empty: it touches neither memory nor stack nor flags, and returns its input.
        unsafe {
            core::arch::asm!("/* {0} */", inout(reg) value, options(pure, nomem, nostack, preserves_flags));
        }
        value
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    value
}

/// Returns the reference with its address in one register.
#[inline(always)]
pub(crate) fn opaque_ref<T>(reference: &T) -> &T {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        let mut address: *const T = reference;
        #[expect(clippy::pointers_in_nomem_asm_block, reason = "the assembly does not read through it")]
        // SAFETY: the assembly is empty: it touches neither memory nor stack nor flags, and returns its input.
        unsafe {
            core::arch::asm!("/* {0} */", inout(reg) address, options(pure, nomem, nostack, preserves_flags));
        }
        // SAFETY: the address comes from `reference`, and the result has its lifetime.
        unsafe { &*address }
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    reference
}
