//! Proof of life: a recorder locks a byte of the pipe directory while it lives.
//!
//! Owns the open file description that carries the lock, and the mapping from a pipe's name to a byte. The kernel releases the
//! lock when the process ends, in any way, and at no other time. It knows nothing of pipes and removes nothing.
//!
//! A forked child closes its copy of the description, because it would keep the byte locked after its parent's end.

use crate::dir::PipeDir;
use crate::pipe::name::PipeName;
use crate::sys::fd::FdGuard;
use crate::sys::stat::FileStat;
use nix::fcntl::{FcntlArg, OFlag, fcntl, openat};
use nix::sys::stat::Mode;
use std::io;
use std::os::fd::AsFd;

/// Returns whether a live recorder holds the lock byte of `name` in this directory.
///
/// It also detects recorders of this process, of other users, and in other pid namespaces.
///
/// `false` is not enough to prove death: writers other than this library hold no lock byte. `true` can be forged: any user who
/// may read the directory can lock any byte. And two names may share a lock byte: of the pairs of
/// names that differ only in their labels, one in 32767 does. In both cases the pipe is found dead later, once the other lock is
/// released.
///
/// Cost: one system call (`fcntl(2)` with `F_OFD_GETLK`).
///
/// # Errors
/// The error of the system call.
///
/// ```
/// use statvent_core::Registry;
/// use statvent_posix::pipe_name::PipeName;
/// use statvent_posix::{PipeDir, Recorder, liveness};
///
/// static STATS: Registry<64, 8, 4096> = Registry::new();
///
/// # let temp = tempfile::tempdir()?;
/// # let directory = temp.path();
/// let recorder = Recorder::builder(&STATS).directory(directory).start()?;
/// let dir = PipeDir::open(directory)?;
/// let name = PipeName { label: None, pid: std::process::id(), instance: 0 };
/// assert!(liveness::is_alive(&dir, &name)?);
/// drop(recorder);
/// assert!(!liveness::is_alive(&dir, &name)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn is_alive(dir: &PipeDir, name: &PipeName<'_>) -> io::Result<bool> {
    is_locked_by_other(dir, offset_of(name))
}

/// The lock byte of one recorder, held. Dropping this, or the end of the process, releases the lock.
#[derive(Debug)]
pub(crate) struct LivenessLock {
    /// A separate open file description of the directory: the lock belongs to it, and closing others does not release it.
    description: FdGuard,
    offset: i64,
}

impl LivenessLock {
    /// Locks the byte of `name`. Succeeds even if others hold it, because a directory allows only read locks.
    ///
    /// So the lock does not decide who gets the name; creating the pipe does. If the pipe exists already,
    /// [`is_locked_elsewhere`](Self::is_locked_elsewhere) shows whether its recorder may be alive. Lock the byte before
    /// creating the pipe, and hold it until the pipe is gone.
    pub(crate) fn acquire(dir: &PipeDir, name: &PipeName<'_>) -> io::Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let description = FdGuard::open(|| openat(dir, ".", flags, Mode::empty()))?;
        let offset = offset_of(name);
        fcntl(&*description, FcntlArg::F_OFD_SETLK(&byte_at(offset, libc::F_RDLCK)))?;
        // Keeps cleaners of old temporary files away. It fails only while such a cleaner holds its exclusive lock, for a
        // moment; nothing is lost then.
        let _ = description.try_lock_shared();
        Ok(Self { description, offset })
    }

    /// Returns whether the lock is still held: it is lost if the program closed our descriptor.
    pub(crate) fn is_held(&self) -> bool {
        self.description.is_still_open()
    }

    /// Returns whether this is the byte of `name` in this directory. `false` if the program closed our descriptor.
    pub(crate) fn matches(&self, dir: &PipeDir, name: &PipeName<'_>) -> bool {
        self.is_held()
            && self.offset == offset_of(name)
            && FileStat::of_fd(&*self.description).is_ok_and(|stat| stat.id == dir.id())
    }

    /// Returns whether another description locks the same byte: a live recorder, or any process that may read the directory.
    pub(crate) fn is_locked_elsewhere(&self) -> io::Result<bool> {
        is_locked_by_other(&*self.description, self.offset)
    }
}

/// Checks whether a write lock on the byte would conflict: with any read lock except one of `description` itself.
fn is_locked_by_other(description: impl AsFd, offset: i64) -> io::Result<bool> {
    let mut byte = byte_at(offset, libc::F_WRLCK);
    fcntl(description, FcntlArg::F_OFD_GETLK(&mut byte))?;
    Ok(byte.l_type != libc::F_UNLCK as libc::c_short)
}

fn byte_at(offset: i64, kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: offset,
        l_len: 1,
        // Must be 0 for locks of an open file description.
        l_pid: 0,
    }
}

/// Returns the offset of a name's byte: 15 bits for the label, 32 for the pid, 16 for the instance.
fn offset_of(name: &PipeName<'_>) -> i64 {
    let label = name.label.map_or(0, |label| hash_label(label.as_str()));
    label << 48 | i64::from(name.pid) << 16 | i64::from(name.instance)
}

/// Hashes a label to 1 to 32767 (FNV-1a, folded). All programs that share a directory must use the same function.
fn hash_label(label: &str) -> i64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = label.bytes().fold(0xcbf2_9ce4_8422_2325, fold);
    1 + (hash % 0x7fff) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipe::name::Label;
    use crate::process::fork::{NoForks, no_forks};
    use std::fs;

    fn pipe_dir() -> (tempfile::TempDir, PipeDir, NoForks) {
        let temp = tempfile::tempdir().unwrap();
        let dir = PipeDir::open(temp.path()).unwrap();
        (temp, dir, no_forks())
    }

    fn name(pid: u32, instance: u16) -> PipeName<'static> {
        PipeName { label: None, pid, instance }
    }

    fn labelled(label: &str) -> PipeName<'_> {
        PipeName { label: Label::new(label), pid: 1, instance: 0 }
    }

    #[test]
    fn a_lock_is_seen_in_its_own_process_and_ends_once_dropped() {
        let (_temp, dir, _no_forks) = pipe_dir();
        let lock = LivenessLock::acquire(&dir, &name(7, 1)).unwrap();
        assert!(is_alive(&dir, &name(7, 1)).unwrap());
        drop(lock);
        assert!(!is_alive(&dir, &name(7, 1)).unwrap());
    }

    #[test]
    fn every_pid_and_instance_has_a_byte_of_its_own() {
        let (_temp, dir, _no_forks) = pipe_dir();
        let _lock = LivenessLock::acquire(&dir, &name(7, 0)).unwrap();
        for (pid, n) in [(7, 1), (6, u16::MAX), (8, 0), (0, 7)] {
            assert!(!is_alive(&dir, &name(pid, n)).unwrap(), "{pid}-{n}");
        }
        let _last = LivenessLock::acquire(&dir, &name(u32::MAX, u16::MAX)).unwrap();
        assert!(is_alive(&dir, &name(u32::MAX, u16::MAX)).unwrap());
    }

    #[test]
    fn processes_of_equal_pid_have_different_bytes_if_their_labels_differ() {
        let (_temp, dir, _no_forks) = pipe_dir();
        let _lock = LivenessLock::acquire(&dir, &labelled("shop")).unwrap();
        assert!(is_alive(&dir, &labelled("shop")).unwrap());
        for other in [labelled("cart"), labelled("shop1"), labelled("pohs"), name(1, 0)] {
            assert!(!is_alive(&dir, &other).unwrap(), "{other}");
        }
    }

    #[test]
    fn every_byte_has_an_offset_that_the_system_accepts() {
        let (_temp, dir, _no_forks) = pipe_dir();
        // The label with the highest hash: the largest offset.
        let last = PipeName { label: Label::new("qfc"), pid: u32::MAX, instance: u16::MAX };
        assert_eq!(offset_of(&last), i64::MAX);
        let _lock = LivenessLock::acquire(&dir, &last).unwrap();
        assert!(is_alive(&dir, &last).unwrap());
    }

    #[test]
    fn a_lock_survives_other_descriptors_of_the_directory() {
        let (temp, dir, _no_forks) = pipe_dir();
        let _lock = LivenessLock::acquire(&dir, &name(7, 0)).unwrap();
        drop(fs::File::open(temp.path()).unwrap());
        dir.names().unwrap();
        drop(LivenessLock::acquire(&dir, &name(8, 0)).unwrap());
        assert!(is_alive(&dir, &name(7, 0)).unwrap());
    }

    #[test]
    fn two_locks_of_one_byte_see_each_other() {
        let (_temp, dir, _no_forks) = pipe_dir();
        let lock = LivenessLock::acquire(&dir, &name(7, 0)).unwrap();
        assert!(!lock.is_locked_elsewhere().unwrap());
        let other = LivenessLock::acquire(&dir, &name(7, 0)).unwrap();
        assert!(lock.is_locked_elsewhere().unwrap() && other.is_locked_elsewhere().unwrap());
        drop(lock);
        assert!(!other.is_locked_elsewhere().unwrap());
    }

    #[test]
    fn a_lock_knows_its_directory_and_its_name() {
        let (temp, dir, _no_forks) = pipe_dir();
        fs::create_dir(temp.path().join("other")).unwrap();
        let other = PipeDir::open(&temp.path().join("other")).unwrap();
        let lock = LivenessLock::acquire(&dir, &name(7, 0)).unwrap();
        assert!(lock.matches(&dir, &name(7, 0)));
        assert!(!lock.matches(&dir, &name(7, 1)) && !lock.matches(&other, &name(7, 0)));
    }

    #[test]
    fn a_cleaner_of_old_files_finds_the_directory_in_use() {
        let (temp, dir, _no_forks) = pipe_dir();
        let cleaner = fs::File::open(temp.path()).unwrap();
        let lock = LivenessLock::acquire(&dir, &name(7, 0)).unwrap();
        assert!(cleaner.try_lock().is_err());
        drop(lock);
        cleaner.try_lock().unwrap();
    }
}
