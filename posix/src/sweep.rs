//! Removal of a dead pipe, so that a live one that took its name meanwhile survives.
//!
//! Owns the order of steps: aside, look, unlink or put back. It does not judge who is dead (see `liveness`). Called by
//! the recorder for a stale pipe of its own name and when it stops, and by the collector.

use crate::dir::PipeDir;
use crate::hidden;
use crate::node::{FileId, Node};
use nix::fcntl::{RenameFlags, renameat2};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::OsStr;
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
/// the change comes between the steps; the answer is then `false`, or `true` if nothing has the name.
///
/// # Errors
/// What the system answers, most likely that we may not write there.
pub fn remove_dead(dir: &PipeDir, name: &OsStr, judged: impl AsFd) -> io::Result<bool> {
    let judged = Node::of(judged)?;
    match dir.node(name)? {
        None => return Ok(true),
        Some(found) if found.id != judged.id => return Ok(false),
        Some(_) => {}
    }
    match put_aside(dir, name)? {
        Some(aside) => unlink_or_put_back(dir, &aside, name, judged.id),
        None => Ok(true),
    }
}

/// Removes what was put aside if it is what was judged; else it gets its name back, or goes as well if it is a pipe
/// that another has replaced meanwhile.
fn unlink_or_put_back(dir: &PipeDir, aside: &str, name: &OsStr, judged: FileId) -> io::Result<bool> {
    let found = dir.node(aside.as_ref())?;
    let is_judged = found.is_some_and(|found| found.id == judged);
    if !is_judged {
        match rename_without_replacing(dir, aside.as_ref(), name) {
            // Its recorder missed it and publishes anew; a file that is no pipe may be the only copy.
            Err(nix::Error::EEXIST) if found.is_some_and(|found| found.is_fifo) => {}
            put_back => return Ok(put_back.map(|()| false)?),
        }
    }
    unlinkat(dir, aside, UnlinkatFlags::NoRemoveDir)?;
    Ok(is_judged)
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
    renameat2(dir, from, dir, to, RenameFlags::RENAME_NOREPLACE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use std::fs::{self, File};

    fn pipe_dir() -> (tempfile::TempDir, PipeDir) {
        let temp = tempfile::tempdir().unwrap();
        let dir = PipeDir::open(temp.path()).unwrap();
        (temp, dir)
    }

    #[test]
    fn what_was_judged_goes_and_nothing_is_left() {
        let (temp, dir) = pipe_dir();
        let judged = File::create(temp.path().join("1.stats")).unwrap();
        assert!(remove_dead(&dir, "1.stats".as_ref(), &judged).unwrap());
        assert!(dir.names().unwrap().is_empty());
        assert!(remove_dead(&dir, "1.stats".as_ref(), &judged).unwrap());
    }

    #[test]
    fn a_name_that_leads_elsewhere_stays() {
        let (temp, dir) = pipe_dir();
        let judged = File::create(temp.path().join("1.stats")).unwrap();
        fs::write(temp.path().join("new"), "live").unwrap();
        fs::rename(temp.path().join("new"), temp.path().join("1.stats")).unwrap();
        assert!(!remove_dead(&dir, "1.stats".as_ref(), &judged).unwrap());
        assert_eq!(fs::read(temp.path().join("1.stats")).unwrap(), b"live");
    }

    #[test]
    fn a_live_file_that_was_put_aside_gets_its_name_back() {
        let (temp, dir) = pipe_dir();
        let judged = File::create(temp.path().join("judged")).unwrap();
        let judged = Node::of(judged).unwrap().id;
        fs::write(temp.path().join("1.stats"), "live").unwrap();
        let aside = put_aside(&dir, "1.stats".as_ref()).unwrap().unwrap();
        assert!(!aside.ends_with(".stats"));
        assert!(!unlink_or_put_back(&dir, &aside, "1.stats".as_ref(), judged).unwrap());
        assert_eq!(fs::read(temp.path().join("1.stats")).unwrap(), b"live");
    }

    #[test]
    fn putting_back_a_file_does_not_replace_what_came_meanwhile() {
        let (temp, dir) = pipe_dir();
        let judged = File::create(temp.path().join("judged")).unwrap();
        let judged = Node::of(judged).unwrap().id;
        fs::write(temp.path().join("1.stats"), "first").unwrap();
        let aside = put_aside(&dir, "1.stats".as_ref()).unwrap().unwrap();
        fs::write(temp.path().join("1.stats"), "second").unwrap();
        let err = unlink_or_put_back(&dir, &aside, "1.stats".as_ref(), judged).unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(temp.path().join("1.stats")).unwrap(), b"second");
        assert_eq!(fs::read(temp.path().join(aside)).unwrap(), b"first");
    }

    #[test]
    fn a_live_pipe_that_was_put_aside_goes_once_another_has_its_name() {
        let (temp, dir) = pipe_dir();
        let judged = File::create(temp.path().join("judged")).unwrap();
        let judged = Node::of(judged).unwrap().id;
        let path = temp.path().join("1.stats");
        mkfifo(&path, Mode::S_IRUSR).unwrap();
        let aside = put_aside(&dir, "1.stats".as_ref()).unwrap().unwrap();
        mkfifo(&path, Mode::S_IRUSR).unwrap();
        let live = dir.node("1.stats".as_ref()).unwrap();
        assert!(!unlink_or_put_back(&dir, &aside, "1.stats".as_ref(), judged).unwrap());
        assert_eq!(dir.node("1.stats".as_ref()).unwrap(), live);
        assert_eq!(dir.node(aside.as_ref()).unwrap(), None);
    }
}
