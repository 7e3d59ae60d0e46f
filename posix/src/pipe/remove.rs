//! Removal of a dead pipe that keeps a live pipe of the same name.
//!
//! Owns the order of the steps: rename to a tombstone, compare, then unlink or restore. It does not decide which pipe is dead.

use crate::dir::PipeDir;
use crate::limits::MAX_TOMBSTONE_NAMES;
use crate::pipe::hidden_name::{random_number, tombstone_name};
use crate::sys::stat::{FileId, FileStat};
use nix::fcntl::{RenameFlags, renameat, renameat2};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{io, iter, process};

/// Removes the dead pipe `name` from its directory. Returns `true` if it is gone.
///
/// `dead` is a descriptor of the pipe that was found dead, open since then, so that no other file can get its inode number;
/// an `O_PATH` descriptor suffices, but cannot be locked against other sweepers. If the name refers to another file by now, that
/// file keeps the name, even if it was put there between two steps. The result is then `false`, or `true` if the name does not
/// exist. It is also `false` while another process has locked that pipe, as a sweeper does that removes it.
///
/// # Errors
/// The error of the system, most likely missing permission to write to the directory.
///
/// ```
/// use statvent_posix::PipeDir;
/// use statvent_posix::remove::remove_dead;
/// use std::fs::File;
///
/// # let temp = tempfile::tempdir()?;
/// # File::create(temp.path().join("7.stats"))?;
/// let dir = PipeDir::open(temp.path())?;
/// let dead = File::open(dir.path().join("7.stats"))?;
/// assert!(remove_dead(&dir, "7.stats".as_ref(), &dead)?);
/// assert!(dir.names()?.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn remove_dead(dir: &PipeDir, name: &OsStr, dead: impl AsFd) -> io::Result<bool> {
    if !try_lock_pipe(&dead)? {
        return Ok(false);
    }
    remove_if_same_inode(dir, name, FileStat::of_fd(dead)?.id)
}

/// Like [`remove_dead`], without a lock and so without another descriptor. Recorders use it: their `O_PATH` descriptor cannot
/// be locked, and they remove only their own pipe or one whose name they are about to take.
pub(crate) fn remove_if_same_inode(dir: &PipeDir, name: &OsStr, dead: FileId) -> io::Result<bool> {
    let mut removal = Removal::Start;
    loop {
        match removal.step(dir, name, dead)? {
            Removal::Done { is_gone } => return Ok(is_gone),
            next => removal = next,
        }
    }
}

/// Locks the dead pipe (`flock(2)`) for as long as it is open; `false` if another process has locked it. A descriptor that
/// cannot be locked, as with `O_PATH`, is accepted without a lock.
///
/// Without the lock, two sweepers of one pipe could both rename a new live pipe. The second one to restore it would then find
/// another pipe under the name.
fn try_lock_pipe(dead: impl AsFd) -> io::Result<bool> {
    let locked = File::from(dead.as_fd().try_clone_to_owned()?).try_lock();
    Ok(!matches!(locked, Err(TryLockError::WouldBlock)))
}

/// The progress of a removal. Each step is one system call, and the directory may change between two steps.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Removal {
    Start,
    /// The name referred to the dead pipe.
    Matched,
    /// The file that had the name was renamed to this tombstone name.
    Renamed(String),
    /// The renamed file is the dead pipe, or a pipe that its recorder has already replaced.
    Unlink {
        tombstone: String,
        is_dead: bool,
    },
    /// The renamed file is another one and must get its name back.
    Restore {
        tombstone: String,
        is_fifo: bool,
    },
    Done {
        is_gone: bool,
    },
}

impl Removal {
    fn step(self, dir: &PipeDir, name: &OsStr, dead: FileId) -> io::Result<Self> {
        Ok(match self {
            Self::Start => match dir.stat(name)? {
                None => Self::Done { is_gone: true },
                Some(found) if found.id != dead => Self::Done { is_gone: false },
                Some(_) => Self::Matched,
            },
            Self::Matched => {
                rename_to_tombstone(dir, name)?.map_or(Self::Done { is_gone: true }, Self::Renamed)
            }
            Self::Renamed(tombstone) => match dir.stat(tombstone.as_ref())? {
                Some(found) if found.id == dead => Self::Unlink { tombstone, is_dead: true },
                found => Self::Restore { tombstone, is_fifo: found.is_some_and(|found| found.is_fifo) },
            },
            Self::Restore { tombstone, is_fifo } => {
                match rename_without_replacing(dir, tombstone.as_ref(), name) {
                    // Its recorder noticed that the pipe was missing and published a fresh one. A file that is not a pipe
                    // is kept: it may be the only copy.
                    Err(nix::Error::EEXIST) if is_fifo => Self::Unlink { tombstone, is_dead: false },
                    restored => restored.map(|()| Self::Done { is_gone: false })?,
                }
            }
            Self::Unlink { tombstone, is_dead } => {
                unlinkat(dir, &*tombstone, UnlinkatFlags::NoRemoveDir)?;
                Self::Done { is_gone: is_dead }
            }
            done @ Self::Done { .. } => done,
        })
    }
}

/// Renames a file to a tombstone name, which readers ignore; `None` if the file does not exist.
fn rename_to_tombstone(dir: &PipeDir, name: &OsStr) -> io::Result<Option<String>> {
    // Relaxed: it only has to give each value once.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let others = iter::repeat_with(random_number);
    for n in iter::once(NEXT.fetch_add(1, Ordering::Relaxed)).chain(others).take(MAX_TOMBSTONE_NAMES) {
        let tombstone = tombstone_name(process::id(), n);
        match rename_without_replacing(dir, name, tombstone.as_ref()) {
            Ok(()) => return Ok(Some(tombstone)),
            Err(nix::Error::ENOENT) => return Ok(None),
            Err(nix::Error::EEXIST) => {}
            Err(err) => return Err(err.into()),
        }
    }
    Err(nix::Error::EEXIST.into())
}

fn rename_without_replacing(dir: &PipeDir, from: &OsStr, to: &OsStr) -> nix::Result<()> {
    match renameat2(dir, from, dir, to, RenameFlags::RENAME_NOREPLACE) {
        // Some file systems do not support RENAME_NOREPLACE: check first, and accept the race.
        Err(nix::Error::EINVAL | nix::Error::ENOSYS) => match dir.stat(to) {
            Ok(None) => renameat(dir, from, dir, to),
            _ => Err(nix::Error::EEXIST),
        },
        renamed => renamed,
    }
}

#[cfg(test)]
mod tests;
