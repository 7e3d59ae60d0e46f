//! Removal of a dead pipe, so that a live one that took its name meanwhile survives.
//!
//! Owns the order of steps: aside, look, unlink or put back. It does not judge who is dead (see `liveness`). Called by
//! the recorder for a stale pipe of its own name and when it stops, and by the collector.

use crate::dir::PipeDir;
use crate::hidden;
use crate::node::{FileId, Node};
use nix::fcntl::{RenameFlags, renameat, renameat2};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{io, iter, process};

/// How many aside names are tried. The first may be taken by a process of our pid in another pid namespace, or by whoever
/// wants the pipe to stay; the others can be foreseen by nobody.
const MAX_ASIDE_NAMES: usize = 8;

/// Removes the pipe `name`, judged dead, from its directory; `true` if it is gone.
///
/// `judged` is a descriptor of the pipe that was judged, held since (one of `O_PATH` will do), so that its inode
/// number cannot be given to another file. If the name leads elsewhere by now, that file keeps it, also where
/// the change comes between the steps; the answer is then `false`, or `true` if nothing has the name. It is `false` as well
/// while another collector has that pipe.
///
/// # Errors
/// What the system answers, most likely that we may not write there.
pub fn remove_dead(dir: &PipeDir, name: &OsStr, judged: impl AsFd) -> io::Result<bool> {
    if !lock(&judged)? {
        return Ok(false);
    }
    remove_judged(dir, name, Node::of(judged)?.id)
}

/// As [`remove_dead`], without a lock, and so without a further descriptor: for a recorder, which has a descriptor that cannot
/// be locked (`O_PATH`). It removes a pipe of its own, or one whose name it is about to take, whoever reads that.
pub(crate) fn remove_judged(dir: &PipeDir, name: &OsStr, judged: FileId) -> io::Result<bool> {
    let mut removal = Removal::Begun;
    loop {
        match removal.step(dir, name, judged)? {
            Removal::Done { is_gone } => return Ok(is_gone),
            next => removal = next,
        }
    }
}

/// Locks the pipe that was judged (`flock(2)`), for as long as it is open; `false` if another one has it. So no two collectors
/// remove it: each could put aside a live one that came since, and the one that is put back last would find another in its
/// place.
fn lock(judged: impl AsFd) -> io::Result<bool> {
    let locked = File::from(judged.as_fd().try_clone_to_owned()?).try_lock();
    Ok(!matches!(locked, Err(TryLockError::WouldBlock)))
}

/// How far a removal has come. Anything may happen in the directory between two steps; each is one system call.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Removal {
    Begun,
    /// The name led to what was judged.
    Seen,
    /// What had the name by then has this one.
    Aside(String),
    /// That is what was judged, or of no use to anybody.
    Doomed {
        aside: String,
        is_judged: bool,
    },
    /// That is something else.
    Mistaken {
        aside: String,
        is_fifo: bool,
    },
    Done {
        is_gone: bool,
    },
}

impl Removal {
    fn step(self, dir: &PipeDir, name: &OsStr, judged: FileId) -> io::Result<Self> {
        Ok(match self {
            Self::Begun => match dir.node(name)? {
                None => Self::Done { is_gone: true },
                Some(found) if found.id != judged => Self::Done { is_gone: false },
                Some(_) => Self::Seen,
            },
            Self::Seen => put_aside(dir, name)?.map_or(Self::Done { is_gone: true }, Self::Aside),
            Self::Aside(aside) => match dir.node(aside.as_ref())? {
                Some(found) if found.id == judged => Self::Doomed { aside, is_judged: true },
                found => Self::Mistaken { aside, is_fifo: found.is_some_and(|found| found.is_fifo) },
            },
            Self::Mistaken { aside, is_fifo } => {
                match rename_without_replacing(dir, aside.as_ref(), name) {
                    // Its recorder missed it and publishes anew; a file that is no pipe may be the only copy.
                    Err(nix::Error::EEXIST) if is_fifo => Self::Doomed { aside, is_judged: false },
                    put_back => put_back.map(|()| Self::Done { is_gone: false })?,
                }
            }
            Self::Doomed { aside, is_judged } => {
                unlinkat(dir, &*aside, UnlinkatFlags::NoRemoveDir)?;
                Self::Done { is_gone: is_judged }
            }
            done @ Self::Done { .. } => done,
        })
    }
}

/// Renames to a name that no reader takes for a pipe; `None` if the name is gone.
fn put_aside(dir: &PipeDir, name: &OsStr) -> io::Result<Option<String>> {
    // A plain counter: only that each value is given once matters.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let others = iter::repeat_with(hidden::unforeseen);
    for n in iter::once(NEXT.fetch_add(1, Ordering::Relaxed)).chain(others).take(MAX_ASIDE_NAMES) {
        let aside = hidden::removed(process::id(), n);
        match rename_without_replacing(dir, name, aside.as_ref()) {
            Ok(()) => return Ok(Some(aside)),
            Err(nix::Error::ENOENT) => return Ok(None),
            Err(nix::Error::EEXIST) => {}
            Err(err) => return Err(err.into()),
        }
    }
    Err(nix::Error::EEXIST.into())
}

fn rename_without_replacing(dir: &PipeDir, from: &OsStr, to: &OsStr) -> nix::Result<()> {
    match renameat2(dir, from, dir, to, RenameFlags::RENAME_NOREPLACE) {
        // Some file systems cannot: there a look before has to do.
        Err(nix::Error::EINVAL | nix::Error::ENOSYS) => match dir.node(to) {
            Ok(None) => renameat(dir, from, dir, to),
            _ => Err(nix::Error::EEXIST),
        },
        renamed => renamed,
    }
}

#[cfg(test)]
mod tests;
