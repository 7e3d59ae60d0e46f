//! Proof of life: a byte lock on the pipe directory itself says that a recorder lives.
//!
//! Owns the open file description that carries the locks, and the mapping from pid and suffix to a byte. The kernel
//! frees a lock when its process is gone, however it goes, and at nothing else. It knows nothing of pipes and
//! removes nothing (see `sweep`). Called by the recorder (`Claim`) and by the collector (`is_alive`).
//!
//! A forked child inherits the description and would keep the byte held after its parent; closing it in the child
//! belongs here.

use crate::dir::PipeDir;
use nix::fcntl::{FcntlArg, OFlag, fcntl, openat};
use nix::sys::stat::Mode;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;

/// Says whether a live recorder holds the byte of `pid` and suffix `n` in this directory.
///
/// True for recorders of this process as well, of other users, and of other pid namespaces. `false` alone is no proof
/// of death: writers other than this library hold no byte. Cost: one system call (`fcntl(2)` with `F_OFD_GETLK`).
///
/// # Errors
/// What the system answers.
pub fn is_alive(dir: &PipeDir, pid: u32, n: u16) -> io::Result<bool> {
    held_by_another(dir, pid, n)
}

/// The byte of one recorder, held until this is dropped or the process is gone.
#[derive(Debug)]
pub(crate) struct Claim {
    /// An own description of the directory: a lock belongs to it, and closing others does not lose the lock.
    description: File,
    pid: u32,
    n: u16,
}

impl Claim {
    /// Takes the byte of `pid` and `n`; `None` if a live recorder holds it.
    ///
    /// Two processes of equal pid (in two pid namespaces) that look at the same moment may both get it: a directory
    /// takes read locks alone. Making the pipe decides between them, and the loser asks
    /// [`is_contested`](Self::is_contested).
    pub(crate) fn take(dir: &PipeDir, pid: u32, n: u16) -> io::Result<Option<Self>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let description = File::from(openat(dir, ".", flags, Mode::empty())?);
        if held_by_another(&description, pid, n)? {
            return Ok(None);
        }
        fcntl(&description, FcntlArg::F_OFD_SETLK(&byte_of(pid, n, libc::F_RDLCK)))?;
        // Keeps cleaners of old temporary files away. Whoever locks it exclusively is such a cleaner, at work for a
        // moment, so that nothing is lost when it is refused.
        let _ = description.try_lock_shared();
        Ok(Some(Self { description, pid, n }))
    }

    /// Says whether another live recorder holds the same byte.
    pub(crate) fn is_contested(&self) -> io::Result<bool> {
        held_by_another(&self.description, self.pid, self.n)
    }
}

/// Asks who would refuse a write lock on the byte: any read lock but one of `description` itself.
fn held_by_another(description: impl AsFd, pid: u32, n: u16) -> io::Result<bool> {
    let mut byte = byte_of(pid, n, libc::F_WRLCK);
    fcntl(description, FcntlArg::F_OFD_GETLK(&mut byte))?;
    Ok(byte.l_type != libc::F_UNLCK as libc::c_short)
}

fn byte_of(pid: u32, n: u16, kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: i64::from(pid) << 16 | i64::from(n),
        l_len: 1,
        // Must be 0 for locks of a description.
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn pipe_dir() -> (tempfile::TempDir, PipeDir) {
        let temp = tempfile::tempdir().unwrap();
        let dir = PipeDir::open(temp.path()).unwrap();
        (temp, dir)
    }

    #[test]
    fn a_claim_is_seen_in_its_own_process_and_is_free_once_dropped() {
        let (_temp, dir) = pipe_dir();
        let claim = Claim::take(&dir, 7, 1).unwrap().unwrap();
        assert!(is_alive(&dir, 7, 1).unwrap());
        assert!(Claim::take(&dir, 7, 1).unwrap().is_none());
        drop(claim);
        assert!(!is_alive(&dir, 7, 1).unwrap());
    }

    #[test]
    fn every_pid_and_suffix_has_a_byte_of_its_own() {
        let (_temp, dir) = pipe_dir();
        let _claim = Claim::take(&dir, 7, 0).unwrap().unwrap();
        for (pid, n) in [(7, 1), (6, u16::MAX), (8, 0), (0, 7)] {
            assert!(!is_alive(&dir, pid, n).unwrap(), "{pid}-{n}");
        }
        let _last = Claim::take(&dir, u32::MAX, u16::MAX).unwrap().unwrap();
        assert!(is_alive(&dir, u32::MAX, u16::MAX).unwrap());
    }

    #[test]
    fn other_descriptors_of_the_directory_come_and_go() {
        let (temp, dir) = pipe_dir();
        let _claim = Claim::take(&dir, 7, 0).unwrap().unwrap();
        drop(fs::File::open(temp.path()).unwrap());
        dir.names().unwrap();
        drop(Claim::take(&dir, 8, 0).unwrap());
        assert!(is_alive(&dir, 7, 0).unwrap());
    }

    #[test]
    fn two_that_took_one_byte_at_the_same_moment_see_each_other() {
        let (temp, dir) = pipe_dir();
        let claim = Claim::take(&dir, 7, 0).unwrap().unwrap();
        assert!(!claim.is_contested().unwrap());
        let other = fs::File::open(temp.path()).unwrap();
        fcntl(&other, FcntlArg::F_OFD_SETLK(&byte_of(7, 0, libc::F_RDLCK))).unwrap();
        assert!(claim.is_contested().unwrap());
    }

    #[test]
    fn a_cleaner_of_old_files_finds_the_directory_in_use() {
        let (temp, dir) = pipe_dir();
        let cleaner = fs::File::open(temp.path()).unwrap();
        let claim = Claim::take(&dir, 7, 0).unwrap();
        assert!(cleaner.try_lock().is_err());
        drop(claim);
        cleaner.try_lock().unwrap();
    }
}
