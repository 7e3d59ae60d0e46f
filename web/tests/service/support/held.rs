//! Bytes of the pipe directory, held as a recorder holds its own.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// A pid that no process has: the system gives none above 4194304.
pub(crate) const FREE_PID: u32 = 7_000_000;

/// The bytes of a pid's pipes `<pid>-<n>.stats`; free once dropped.
pub(crate) struct HeldBytes {
    description: File,
    bytes: libc::flock,
}

impl HeldBytes {
    pub(crate) fn take(dir: &Path, pid: u32, ns: Range<u16>) -> Self {
        let description = File::open(dir).unwrap();
        let bytes = libc::flock {
            l_type: libc::F_RDLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: i64::from(pid) << 16 | i64::from(ns.start),
            l_len: ns.len().try_into().unwrap(),
            l_pid: 0,
        };
        fcntl(&description, FcntlArg::F_OFD_SETLK(&bytes)).unwrap();
        Self { description, bytes }
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        // Closing is not enough: a program that another test is just starting has the description as well.
        let bytes = libc::flock { l_type: libc::F_UNLCK as libc::c_short, ..self.bytes };
        fcntl(&self.description, FcntlArg::F_OFD_SETLK(&bytes)).unwrap();
    }
}
