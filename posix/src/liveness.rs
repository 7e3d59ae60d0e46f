//! Proof of life: a byte lock on the pipe directory itself says that a recorder lives.
//!
//! Owns the open file description that carries the locks, and the mapping from a pipe's name to a byte. The kernel
//! frees a lock when its process is gone, however it goes, and at nothing else. It knows nothing of pipes and
//! removes nothing (see `sweep`). Called by the recorder (`Claim`) and by the collector (`is_alive`).
//!
//! A forked child does not keep the description, which would hold the byte after its parent (see `descriptor`).

use crate::descriptor::FdGuard;
use crate::dir::PipeDir;
use crate::node::Node;
use nix::fcntl::{FcntlArg, OFlag, fcntl, openat};
use nix::sys::stat::Mode;
use statvent_core::pipe_name::PipeName;
use std::io;
use std::os::fd::AsFd;

/// Says whether a live recorder holds the byte of `name` in this directory.
///
/// True for recorders of this process as well, of other users, and of other pid namespaces. `false` alone is no proof
/// of death: writers other than this library hold no byte. `true` is no proof against ill will: whoever may read the
/// directory can hold any byte. Nor is every byte one name's own: of two names that differ in their labels alone, one
/// in 32767 pairs shares it. Either way a dead pipe is only taken for dead later, once the other lock is gone.
///
/// Cost: one system call (`fcntl(2)` with `F_OFD_GETLK`).
///
/// # Errors
/// What the system answers.
pub fn is_alive(dir: &PipeDir, name: &PipeName<'_>) -> io::Result<bool> {
    held_by_another(dir, offset_of(name))
}

/// The byte of one recorder, held until this is dropped or the process is gone.
#[derive(Debug)]
pub(crate) struct Claim {
    /// An own description of the directory: a lock belongs to it, and closing others does not lose the lock.
    description: FdGuard,
    offset: i64,
}

impl Claim {
    /// Takes the byte of `name`, also where others hold it: a directory takes read locks alone.
    ///
    /// Making the pipe decides who gets the name, and [`is_contested`](Self::is_contested) tells whether a pipe that has
    /// it already may be alive. So the byte is taken before the pipe is made, and kept until that is gone.
    pub(crate) fn take(dir: &PipeDir, name: &PipeName<'_>) -> io::Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let description = FdGuard::open(|| openat(dir, ".", flags, Mode::empty()))?;
        let offset = offset_of(name);
        fcntl(&*description, FcntlArg::F_OFD_SETLK(&byte_at(offset, libc::F_RDLCK)))?;
        // Keeps cleaners of old temporary files away. Whoever locks it exclusively is such a cleaner, at work for a
        // moment, so that nothing is lost when it is refused.
        let _ = description.try_lock_shared();
        Ok(Self { description, offset })
    }

    /// Says whether it is held still, and not lost because the program closed our descriptor.
    pub(crate) fn is_held(&self) -> bool {
        self.description.is_still_open()
    }

    /// Says whether it is the byte of `name` in this very directory; not if the program closed our descriptor.
    pub(crate) fn is_of(&self, dir: &PipeDir, name: &PipeName<'_>) -> bool {
        self.is_held()
            && self.offset == offset_of(name)
            && Node::of(&*self.description).is_ok_and(|node| node.id == dir.id())
    }

    /// Says whether somebody else holds the same byte: a live recorder, or whoever likes to.
    pub(crate) fn is_contested(&self) -> io::Result<bool> {
        held_by_another(&*self.description, self.offset)
    }
}

/// Asks who would refuse a write lock on the byte: any read lock but one of `description` itself.
fn held_by_another(description: impl AsFd, offset: i64) -> io::Result<bool> {
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
        // Must be 0 for locks of a description.
        l_pid: 0,
    }
}

/// Where the byte of a name is: 15 bits for the label, 32 for the pid, 16 for the suffix.
fn offset_of(name: &PipeName<'_>) -> i64 {
    let label = name.label.map_or(0, |label| label_number(label.as_str()));
    label << 48 | i64::from(name.pid) << 16 | i64::from(name.n)
}

/// Folds a label into 1 to 32767 (FNV-1a). All programs that share a directory must do it the same way.
fn label_number(label: &str) -> i64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = label.bytes().fold(0xcbf2_9ce4_8422_2325, fold);
    1 + (hash % 0x7fff) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fork::{NoForks, no_forks};
    use statvent_core::pipe_name::Label;
    use std::fs;

    fn pipe_dir() -> (tempfile::TempDir, PipeDir, NoForks) {
        let temp = tempfile::tempdir().unwrap();
        let dir = PipeDir::open(temp.path()).unwrap();
        (temp, dir, no_forks())
    }

    fn name(pid: u32, n: u16) -> PipeName<'static> {
        PipeName { label: None, pid, n }
    }

    fn labelled(label: &str) -> PipeName<'_> {
        PipeName { label: Label::new(label), pid: 1, n: 0 }
    }

    #[test]
    fn a_claim_is_seen_in_its_own_process_and_ends_once_dropped() {
        let (_temp, dir, _no_forks) = pipe_dir();
        let claim = Claim::take(&dir, &name(7, 1)).unwrap();
        assert!(is_alive(&dir, &name(7, 1)).unwrap());
        drop(claim);
        assert!(!is_alive(&dir, &name(7, 1)).unwrap());
    }

    #[test]
    fn every_pid_and_suffix_has_a_byte_of_its_own() {
        let (_temp, dir, _no_forks) = pipe_dir();
        let _claim = Claim::take(&dir, &name(7, 0)).unwrap();
        for (pid, n) in [(7, 1), (6, u16::MAX), (8, 0), (0, 7)] {
            assert!(!is_alive(&dir, &name(pid, n)).unwrap(), "{pid}-{n}");
        }
        let _last = Claim::take(&dir, &name(u32::MAX, u16::MAX)).unwrap();
        assert!(is_alive(&dir, &name(u32::MAX, u16::MAX)).unwrap());
    }

    #[test]
    fn processes_of_equal_pid_are_told_apart_by_their_labels() {
        let (_temp, dir, _no_forks) = pipe_dir();
        let _claim = Claim::take(&dir, &labelled("shop")).unwrap();
        assert!(is_alive(&dir, &labelled("shop")).unwrap());
        for other in [labelled("cart"), labelled("shop1"), labelled("pohs"), name(1, 0)] {
            assert!(!is_alive(&dir, &other).unwrap(), "{other}");
        }
    }

    #[test]
    fn every_byte_is_one_that_the_system_takes() {
        let (_temp, dir, _no_forks) = pipe_dir();
        // The label with the highest number, at the very end of what an offset can say.
        let last = PipeName { label: Label::new("qfc"), pid: u32::MAX, n: u16::MAX };
        assert_eq!(offset_of(&last), i64::MAX);
        let _claim = Claim::take(&dir, &last).unwrap();
        assert!(is_alive(&dir, &last).unwrap());
    }

    #[test]
    fn other_descriptors_of_the_directory_come_and_go() {
        let (temp, dir, _no_forks) = pipe_dir();
        let _claim = Claim::take(&dir, &name(7, 0)).unwrap();
        drop(fs::File::open(temp.path()).unwrap());
        dir.names().unwrap();
        drop(Claim::take(&dir, &name(8, 0)).unwrap());
        assert!(is_alive(&dir, &name(7, 0)).unwrap());
    }

    #[test]
    fn two_that_took_one_byte_see_each_other() {
        let (_temp, dir, _no_forks) = pipe_dir();
        let claim = Claim::take(&dir, &name(7, 0)).unwrap();
        assert!(!claim.is_contested().unwrap());
        let other = Claim::take(&dir, &name(7, 0)).unwrap();
        assert!(claim.is_contested().unwrap() && other.is_contested().unwrap());
        drop(claim);
        assert!(!other.is_contested().unwrap());
    }

    #[test]
    fn a_claim_knows_its_directory_and_its_name() {
        let (temp, dir, _no_forks) = pipe_dir();
        fs::create_dir(temp.path().join("other")).unwrap();
        let other = PipeDir::open(&temp.path().join("other")).unwrap();
        let claim = Claim::take(&dir, &name(7, 0)).unwrap();
        assert!(claim.is_of(&dir, &name(7, 0)));
        assert!(!claim.is_of(&dir, &name(7, 1)) && !claim.is_of(&other, &name(7, 0)));
    }

    #[test]
    fn a_cleaner_of_old_files_finds_the_directory_in_use() {
        let (temp, dir, _no_forks) = pipe_dir();
        let cleaner = fs::File::open(temp.path()).unwrap();
        let claim = Claim::take(&dir, &name(7, 0)).unwrap();
        assert!(cleaner.try_lock().is_err());
        drop(claim);
        cleaner.try_lock().unwrap();
    }
}
