//! Lock bytes of the pipe directory, locked as a recorder locks its own.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// A pid that no process has: Linux pids end at 4194304.
pub(crate) const FREE_PID: u32 = 7_000_000;

/// Read locks on the lock bytes of the pipes `<pid>-<instance>.stats`, released when dropped.
pub(crate) struct LockBytes {
    dir: File,
    lock: libc::flock,
}

impl LockBytes {
    pub(crate) fn hold(dir: &Path, pid: u32, instances: Range<u16>) -> Self {
        let dir = File::open(dir).unwrap();
        let lock = libc::flock {
            l_type: libc::F_RDLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: i64::from(pid) << 16 | i64::from(instances.start),
            l_len: instances.len().try_into().unwrap(),
            l_pid: 0,
        };
        fcntl(&dir, FcntlArg::F_OFD_SETLK(&lock)).unwrap();
        Self { dir, lock }
    }
}

impl Drop for LockBytes {
    fn drop(&mut self) {
        // Closing is not enough: a child that another test has just forked shares the open file until it calls exec.
        let unlock = libc::flock { l_type: libc::F_UNLCK as libc::c_short, ..self.lock };
        fcntl(&self.dir, FcntlArg::F_OFD_SETLK(&unlock)).unwrap();
    }
}
