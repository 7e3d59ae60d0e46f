//! The end of the process by a signal: pipes go at SIGTERM and SIGINT, where the program leaves those at their default.
//!
//! Owns the handler and where it is put in place. The process ends by the signal all the same. A program that has a
//! handler of its own, before or after, or ignores the signal, never notices. What is removed is in `traces`. Called by
//! the builder; `publication` keeps the handler away while it changes files.
#![allow(unsafe_code, reason = "signal handlers have no safe wrapper")]

use crate::traces;
use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, raise, sigaction};
use std::{mem, process, ptr};

/// The signals that ask a process to end, and do so by default.
const ENDING: [Signal; 2] = [Signal::SIGTERM, Signal::SIGINT];

/// Says whether the two signals end this process where it does not say what they are to do: they do not end the first
/// process of a pid namespace.
pub(crate) fn can_end_us() -> bool {
    process::id() != 1
}

/// Has the pipes of this process removed when one of the two signals ends it; where something else is to happen at
/// that signal, changes nothing.
pub(crate) fn clean_up_where_default() {
    ENDING.into_iter().for_each(clean_up_at);
}

/// Keeps the handler from running in this thread until it is dropped: it must not wait for what this thread is doing.
#[derive(Debug)]
pub(crate) struct Deferred {
    before: Option<SigSet>,
}

impl Deferred {
    pub(crate) fn new() -> Self {
        // Refused for a wrong argument alone.
        Self { before: ending().thread_swap_mask(SigmaskHow::SIG_BLOCK).ok() }
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = before.thread_set_mask();
        }
    }
}

fn ending() -> SigSet {
    SigSet::from_iter(ENDING)
}

fn clean_up_at(signal: Signal) {
    if disposition(signal) != Some(libc::SIG_DFL) {
        return;
    }
    // An alternate stack is used where the program has one, and no call of the program is interrupted for good.
    let flags = SaFlags::SA_ONSTACK | SaFlags::SA_RESTART;
    let ours = SigAction::new(SigHandler::Handler(end_without_traces), flags, ending());
    // SAFETY: the handler does what handlers are allowed alone.
    let replaced = unsafe { sigaction(signal, &ours) };
    // Another thread of the program may have been faster.
    if let Ok(replaced) = replaced.as_ref().map_err(drop)
        && !matches!(replaced.handler(), SigHandler::SigDfl)
    {
        // SAFETY: what the program chose itself a moment ago.
        let _ = unsafe { sigaction(signal, replaced) };
    }
}

/// Removes the pipes and ends the process as the signal would have done by itself.
///
/// A program's handler that came later may pass the signal on to this one; then the program decides what happens.
extern "C" fn end_without_traces(number: libc::c_int) {
    let errno = Errno::last_raw();
    if let Ok(signal) = Signal::try_from(number)
        && disposition(signal) == Some(end_without_traces as *const () as libc::sighandler_t)
    {
        traces::remove_all();
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: no handler is put in place.
        let _ = unsafe { sigaction(signal, &default) };
        let _ = SigSet::from(signal).thread_unblock();
        let _ = raise(signal);
        // Nothing comes after this but for a debugger that takes the signal away.
        traces::allow_again();
    }
    Errno::set_raw(errno);
}

/// Returns what is to happen at a signal: a handler's address, or one of the system's two constants.
fn disposition(signal: Signal) -> Option<libc::sighandler_t> {
    // SAFETY: a structure of numbers and pointers, for which zero is a value.
    let mut found: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: nothing is changed; what is there is written to a structure of our own.
    let asked = unsafe { libc::sigaction(signal as libc::c_int, ptr::null(), &mut found) };
    (asked == 0).then_some(found.sa_sigaction)
}
