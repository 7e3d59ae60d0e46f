//! The recorder's own threads: to be started, also in a forked child, and joined.
//!
//! Owns their making by `pthread_create(3)`. The standard library takes a lock of its own at the beginning and end of
//! each thread; in a child that was forked right then, by another thread, it is held for ever and no thread gets
//! beyond its first steps. No signal is ever delivered to these threads. Called by the builder and the handle.
#![allow(unsafe_code, reason = "the C library makes threads of pointers")]

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow};
use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A thread that was started. It goes on when this is dropped.
#[derive(Debug)]
pub(crate) struct Thread {
    id: libc::pthread_t,
    is_finished: Arc<AtomicBool>,
}

/// What a thread is given.
struct Task {
    name: CString,
    work: Box<dyn FnOnce() + Send>,
    is_finished: Arc<AtomicBool>,
}

impl Thread {
    /// Starts a thread that no signal is ever delivered to. Of the name 15 bytes are shown by the system.
    ///
    /// # Errors
    /// What the system answers: `WouldBlock` where a limit of threads is reached.
    pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let is_finished = Arc::new(AtomicBool::new(false));
        let name = CString::new(name)?;
        let task = Task { name, work: Box::new(work), is_finished: Arc::clone(&is_finished) };
        // A thread inherits the mask, so that there is no moment in which it could be chosen for a signal.
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        let created = create(Box::new(task));
        // Refused for a wrong argument alone.
        let _ = before.thread_set_mask();
        Ok(Self { id: created?, is_finished })
    }

    /// Says whether it will end without waiting for anything more.
    pub(crate) fn is_finished(&self) -> bool {
        // Acquire pairs with the Release at its end: what it did is seen.
        self.is_finished.load(Ordering::Acquire)
    }

    /// Waits for its end.
    pub(crate) fn join(self) {
        // SAFETY: it was made joinable, and is joined here alone, which takes the only handle.
        unsafe { libc::pthread_join(self.id, ptr::null_mut()) };
    }
}

fn create(task: Box<Task>) -> io::Result<libc::pthread_t> {
    let task = Box::into_raw(task);
    let mut id = MaybeUninit::uninit();
    // SAFETY: the task is the new thread's from here on; without attributes the thread has the system's stack.
    let refused = unsafe { libc::pthread_create(id.as_mut_ptr(), ptr::null(), run, task.cast()) };
    if refused != 0 {
        // SAFETY: there is no thread, so that the task is still ours.
        drop(unsafe { Box::from_raw(task) });
        return Err(Errno::from_raw(refused).into());
    }
    // SAFETY: set by a call that succeeded.
    Ok(unsafe { id.assume_init() })
}

extern "C" fn run(task: *mut libc::c_void) -> *mut libc::c_void {
    // SAFETY: `create` made the pointer of a box, and gave it to this thread alone.
    let task = unsafe { Box::from_raw(task.cast::<Task>()) };
    // A name that is too long is shown in part; without one nothing is lost.
    // SAFETY: a string that ends with a zero byte; nothing but the kernel reads it.
    unsafe { libc::prctl(libc::PR_SET_NAME, task.name.as_ptr()) };
    let Task { work, is_finished, .. } = *task;
    // One that panicked has told so itself, and must not unwind into the C library.
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
        let (say, said) = channel();
        let thread = Thread::spawn("statvent-pipe", move || {
            let status = fs::read_to_string("/proc/thread-self/status").unwrap();
            say.send((fs::read_to_string("/proc/thread-self/comm").unwrap(), status)).unwrap();
        })
        .unwrap();
        let (name, status) = said.recv().unwrap();
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
    fn a_thread_that_panics_ends_alone() {
        let thread = Thread::spawn("panics", || std::panic::resume_unwind(Box::new(()))).unwrap();
        let finished = Arc::clone(&thread.is_finished);
        thread.join();
        assert!(finished.load(Ordering::Acquire));
    }
}
