//! Tests of a whole recorder through its pipe.
//!
//! Each module covers one topic. A test that changes or measures process-wide state (user, umask, limits, exit) runs in a
//! subprocess: see `support::in_own_process`.
#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

mod support;

mod exactness;
mod faults;
mod forks;
mod global;
mod idle;
mod lock_byte;
mod names;
mod namespaces;
mod no_proc;
mod process_exit;
mod reads;
mod repair;
mod shutdown;
mod signals;
mod slow_readers;
mod stranded_readers;
