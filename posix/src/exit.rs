//! The end of the process: pipes that are still published go when it returns from `main` or calls `exit`.
//!
//! Owns the list of what this process published and its one `atexit(3)` handler. A forked child runs the handler too, and
//! finds the list empty (see `fork`). Called by the builder.
#![allow(unsafe_code, reason = "atexit has no safe wrapper")]

use crate::lock::lock;
use crate::publication::Publication;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

pub(crate) static PUBLISHED: Mutex<Vec<Weak<Publication>>> = Mutex::new(Vec::new());

/// Sees to it that the publication is withdrawn at exit, unless it is gone before.
pub(crate) fn withdraw_at_exit(publication: &Arc<Publication>) {
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    // Relaxed: it guards nothing but the call itself.
    if !REGISTERED.swap(true, Ordering::Relaxed) {
        // Refused for want of memory alone; then pipes stay behind and are swept as dead.
        // SAFETY: the handler is a plain function that lives as long as the program and does not unwind.
        unsafe { libc::atexit(withdraw_all) };
    }
    let mut published = lock(&PUBLISHED);
    published.retain(|known| known.strong_count() > 0);
    published.push(Arc::downgrade(publication));
}

extern "C" fn withdraw_all() {
    for publication in std::mem::take(&mut *lock(&PUBLISHED)) {
        if let Some(publication) = publication.upgrade() {
            // The thread need not wake up any more.
            let _ = publication.withdraw();
        }
    }
}
