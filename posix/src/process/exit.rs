//! Exit handler: removes all published pipes when `main` returns or the process calls `exit`.
//!
//! Owns the list of this process's endpoints and the one `atexit(3)` handler. A forked child inherits the handler; the fork
//! handlers empty its list.
#![allow(unsafe_code, reason = "atexit has no safe wrapper")]

use crate::recorder::endpoint::Endpoint;
use crate::sys::lock::lock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

pub(crate) static ENDPOINTS: Mutex<Vec<Weak<Endpoint>>> = Mutex::new(Vec::new());

/// Closes the endpoint at exit, unless it was dropped before.
pub(crate) fn close_at_exit(endpoint: &Arc<Endpoint>) {
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    // Relaxed: it guards only the call itself.
    if !INSTALLED.swap(true, Ordering::Relaxed) {
        // Fails only without memory. Pipes then stay at exit until a sweeper removes them.
        // SAFETY: the handler is a plain function that lives as long as the program and does not unwind.
        unsafe { libc::atexit(close_all) };
    }
    let mut endpoints = lock(&ENDPOINTS);
    endpoints.retain(|known| known.strong_count() > 0);
    endpoints.push(Arc::downgrade(endpoint));
}

extern "C" fn close_all() {
    for endpoint in std::mem::take(&mut *lock(&ENDPOINTS)) {
        if let Some(endpoint) = endpoint.upgrade() {
            // An error means that the serving thread still sleeps. It ends with the process.
            let _ = endpoint.close();
        }
    }
}
