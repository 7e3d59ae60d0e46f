//! The end of the process: pipes that are still published go when it returns from `main` or calls `exit`.
//!
//! Owns the list of what this process published and its one `atexit(3)` handler. A forked child runs the handler too
//! and must leave the parent's files alone. Called by the builder.
#![allow(unsafe_code, reason = "atexit has no safe wrapper")]

use crate::publication::Publication;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};

static PUBLISHED: Mutex<Vec<Weak<Publication>>> = Mutex::new(Vec::new());

/// The process that published last. A child that was forked while the list was locked must not ask for the lock.
/// Relaxed: it is compared with a process's own number, which only that process stores.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// Sees to it that the publication is withdrawn at exit, unless it is gone before.
pub(crate) fn withdraw_at_exit(publication: &Arc<Publication>) {
    static REGISTERED: Once = Once::new();
    // Refused for want of memory alone; then pipes stay behind and are swept as dead.
    REGISTERED.call_once(|| {
        // SAFETY: the handler is a plain function that lives as long as the program and does not unwind.
        unsafe { libc::atexit(withdraw_all) };
    });
    OWNER.store(process::id(), Ordering::Relaxed);
    let mut published = lock();
    published.retain(|known| known.strong_count() > 0);
    published.push(Arc::downgrade(publication));
}

extern "C" fn withdraw_all() {
    if OWNER.load(Ordering::Relaxed) != process::id() {
        return;
    }
    for publication in std::mem::take(&mut *lock()) {
        if let Some(publication) = publication.upgrade() {
            // The thread need not wake up any more.
            let _ = publication.withdraw();
        }
    }
}

fn lock() -> MutexGuard<'static, Vec<Weak<Publication>>> {
    PUBLISHED.lock().unwrap_or_else(PoisonError::into_inner)
}
