//! The global registry follows the forks of its process: children start from zero.
//!
//! Owns the one function that runs before `main`. By then nothing was counted yet, so that a process whose children alone
//! start recorders hands them nothing, and nothing lies on a huge page. All work is the crate `statvent-posix`'s.
#![allow(unsafe_code, reason = "the linker has to be told that a function runs before `main`")]

use crate::GLOBAL;

// SAFETY: this section holds pointers to functions that the C library calls, once it is ready itself.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = follow;

extern "C" fn follow() {
    statvent_posix::follow_forks(&GLOBAL);
}
