//! Threads of a recorder that can start in any process, also in a forked child.
//!
//! Owns their creation by `pthread_create(3)`. The standard library takes an internal lock at the start and at the end of
//! each thread. If another thread forks at that moment, the lock stays locked in the child, and every thread that the
//! standard library creates there blocks at its start. Signals are never delivered to these threads.
#![allow(unsafe_code, reason = "pthread_create has no safe wrapper")]

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow};
use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A running thread. Dropping this detaches from the thread; it does not stop it.
#[derive(Debug)]
pub(crate) struct Thread {
    id: libc::pthread_t,
    is_finished: Arc<AtomicBool>,
}

/// What a new thread receives.
struct Task {
    name: CString,
    work: Box<dyn FnOnce() + Send>,
    is_finished: Arc<AtomicBool>,
}

impl Thread {
    /// Starts a thread that blocks all signals. The system shows the first 15 bytes of the name.
    ///
    /// # Errors
    /// The error of the system: `WouldBlock` at a limit of threads.
    pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let is_finished = Arc::new(AtomicBool::new(false));
        let name = CString::new(name)?;
        let task = Task { name, work: Box::new(work), is_finished: Arc::clone(&is_finished) };
        // A thread inherits the signal mask, so that no signal can reach it before it would set its own.
        let old_mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        let created = create(Box::new(task));
        // Fails only for a wrong argument.
        let _ = old_mask.thread_set_mask();
        Ok(Self { id: created?, is_finished })
    }

    /// Returns whether the thread has finished its work, so that `join` does not wait.
    pub(crate) fn is_finished(&self) -> bool {
        // Acquire pairs with the Release in `run`: the caller sees what the thread did.
        self.is_finished.load(Ordering::Acquire)
    }

    /// Waits for the end of the thread.
    pub(crate) fn join(self) {
        // SAFETY: the thread is joinable, and only this call joins it, because it consumes the only handle.
        unsafe { libc::pthread_join(self.id, ptr::null_mut()) };
    }
}

fn create(task: Box<Task>) -> io::Result<libc::pthread_t> {
    let task = Box::into_raw(task);
    let mut id = MaybeUninit::uninit();
    // SAFETY: the new thread owns the task from here on; without attributes it gets the system's default stack.
    let refused = unsafe { libc::pthread_create(id.as_mut_ptr(), ptr::null(), run, task.cast()) };
    if refused != 0 {
        // SAFETY: no thread was created, so the task is still ours.
        drop(unsafe { Box::from_raw(task) });
        return Err(Errno::from_raw(refused).into());
    }
    // SAFETY: a successful call sets it.
    Ok(unsafe { id.assume_init() })
}

extern "C" fn run(task: *mut libc::c_void) -> *mut libc::c_void {
    // SAFETY: `create` made this pointer from a box and gave it only to this thread.
    let task = unsafe { Box::from_raw(task.cast::<Task>()) };
    // The system cuts a long name off; a failure costs only the name.
    // SAFETY: a string that ends with a zero byte; only the kernel reads it.
    unsafe { libc::prctl(libc::PR_SET_NAME, task.name.as_ptr()) };
    let Task { work, is_finished, .. } = *task;
    // The panic hook has reported a panic already. It must not unwind into the C library.
    let _ = catch_unwind(AssertUnwindSafe(work));
    is_finished.store(true, Ordering::Release);
    ptr::null_mut()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::sync::mpsc::channel;

    #[test]
    fn a_thread_has_its_name_blocks_all_signals_and_is_joined() {
        let (sender, receiver) = channel();
        let thread = Thread::spawn("statvent-pipe", move || {
            let status = fs::read_to_string("/proc/thread-self/status").unwrap();
            sender.send((fs::read_to_string("/proc/thread-self/comm").unwrap(), status)).unwrap();
        })
        .unwrap();
        let (name, status) = receiver.recv().unwrap();
        thread.join();
        assert_eq!(name, "statvent-pipe\n");
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:\t")).unwrap();
        let blocked = u64::from_str_radix(blocked, 16).unwrap();
        assert!(
            blocked >> (libc::SIGTERM - 1) & 1 == 1 && blocked >> (libc::SIGPIPE - 1) & 1 == 1,
            "{blocked:x}"
        );
    }

    #[test]
    fn a_thread_that_panics_ends_without_ending_the_process() {
        let thread = Thread::spawn("panics", || std::panic::resume_unwind(Box::new(()))).unwrap();
        let finished = Arc::clone(&thread.is_finished);
        thread.join();
        assert!(finished.load(Ordering::Acquire));
    }
}
