//! Signal handler for SIGTERM and SIGINT: removes all pipes before the signal ends the process.
//!
//! Owns the handler and its installation. It is installed only if the signal has its default action, and the process still ends by
//! the signal. It has no effect on a program that ignores the signal, or installs its own handler before or after this one. Which
//! files are removed is recorded in `cleanup_table`.
#![allow(unsafe_code, reason = "signal handlers have no safe wrapper")]

use crate::process::cleanup_table;
use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, raise, sigaction};
use std::{mem, process, ptr};

/// The signals that ask a process to end, and end it by default.
const FATAL_SIGNALS: [Signal; 2] = [Signal::SIGTERM, Signal::SIGINT];

/// Returns whether the default action of these signals ends this process. They do not end the first process of a pid
/// namespace.
pub(crate) fn signals_are_fatal() -> bool {
    process::id() != 1
}

/// Installs the cleanup handler for each of the signals that has its default action.
pub(crate) fn install_handlers() {
    FATAL_SIGNALS.into_iter().for_each(install_handler);
}

/// Blocks the signals in this thread until it is dropped. The handler waits for changes in progress, so it must not interrupt
/// the thread that makes one.
#[derive(Debug)]
pub(crate) struct BlockedSignals {
    old_mask: Option<SigSet>,
}

impl BlockedSignals {
    pub(crate) fn new() -> Self {
        // Fails only for a wrong argument.
        Self { old_mask: fatal_signals().thread_swap_mask(SigmaskHow::SIG_BLOCK).ok() }
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        if let Some(old_mask) = &self.old_mask {
            let _ = old_mask.thread_set_mask();
        }
    }
}

fn fatal_signals() -> SigSet {
    SigSet::from_iter(FATAL_SIGNALS)
}

fn install_handler(signal: Signal) {
    if disposition(signal) != Some(libc::SIG_DFL) {
        return;
    }
    // SA_ONSTACK uses the program's alternate stack if it has one; SA_RESTART lets interrupted system calls continue.
    let flags = SaFlags::SA_ONSTACK | SaFlags::SA_RESTART;
    let action = SigAction::new(SigHandler::Handler(cleanup_handler), flags, fatal_signals());
    // SAFETY: the handler calls only async-signal-safe functions.
    let replaced = unsafe { sigaction(signal, &action) };
    // Another thread of the program may have installed a handler since the check: restore it.
    if let Ok(replaced) = replaced.as_ref().map_err(drop)
        && !matches!(replaced.handler(), SigHandler::SigDfl)
    {
        // SAFETY: this is the action that the program chose itself.
        let _ = unsafe { sigaction(signal, replaced) };
    }
}

/// Removes the pipes and ends the process by the signal's default action.
///
/// If the program installed its own handler later, that handler may call this one. Then this handler does nothing: the program
/// decides.
extern "C" fn cleanup_handler(number: libc::c_int) {
    let errno = Errno::last_raw();
    if let Ok(signal) = Signal::try_from(number)
        && disposition(signal) == Some(cleanup_handler as *const () as libc::sighandler_t)
    {
        cleanup_table::remove_all();
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: it installs no handler.
        let _ = unsafe { sigaction(signal, &default) };
        let _ = SigSet::from(signal).thread_unblock();
        let _ = raise(signal);
        // Reached only if a debugger suppresses the signal.
        cleanup_table::allow_changes();
    }
    Errno::set_raw(errno);
}

/// Returns the action of a signal: a handler's address, or one of the two constants of the system.
fn disposition(signal: Signal) -> Option<libc::sighandler_t> {
    // SAFETY: a structure of numbers and pointers, for which zero is a valid value.
    let mut found: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: it changes nothing, and writes only to the structure above.
    let result = unsafe { libc::sigaction(signal as libc::c_int, ptr::null(), &mut found) };
    (result == 0).then_some(found.sa_sigaction)
}
