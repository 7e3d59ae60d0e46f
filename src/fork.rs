//! Fork handling of the global registry: a forked child starts from zero.
//!
//! Owns one function, which runs before `main`, before the program counts anything. So a child inherits no counts, even
//! if its parent never starts a recorder, and no page of the registry is on a huge page yet. The crate `statvent-posix`
//! does the work.
#![allow(unsafe_code, reason = "a function that runs before `main` needs a linker section")]

use crate::GLOBAL;

// SAFETY: the section holds pointers to functions of this type. The C library calls them after its own start.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = register_global;

extern "C" fn register_global() {
    statvent_posix::reset_on_fork(&GLOBAL);
}
