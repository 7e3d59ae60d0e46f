//! One named pipe of ours: made, waited on, succeeded by a fresh one, removed.
//!
//! Owns `mkfifo`, both ways of opening our end, and the rename of a fresh pipe over the name. Every file is
//! compared with the inode that was made before anything is done to it. It knows no stats, and does not choose
//! names (see `site`). Called by `site` and `publication`; the recorder's thread waits here.

use crate::descriptor::FdGuard;
use crate::dir::PipeDir;
use crate::hidden;
use crate::node::{FileId, Node};
use crate::sweep::remove_judged;
use nix::fcntl::{OFlag, RenameFlags, open, openat, renameat, renameat2};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use nix::unistd::{Uid, UnlinkatFlags, mkfifoat, unlinkat};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::{io, iter};

const MODE: Mode = Mode::from_bits_truncate(0o644);

/// How many aside names are tried. The first may be taken by a file that is not ours to remove; the others can be foreseen
/// by nobody.
const MAX_ASIDE_NAMES: usize = 16;

/// A named pipe that we made, under its name or retired.
#[derive(Debug)]
pub(crate) struct Fifo {
    dir: Arc<PipeDir>,
    name: OsString,
    /// A descriptor of `O_PATH`, which keeps the inode and opens no end.
    handle: FdGuard,
    id: FileId,
    /// A read end of our own that makes every wait for a reader return.
    released: OnceLock<FdGuard>,
}

impl Fifo {
    /// Makes a pipe of mode 0644 whatever the umask. `AlreadyExists` if anything has that name.
    pub(crate) fn create(dir: &Arc<PipeDir>, name: &OsStr) -> io::Result<Self> {
        Self::create_at(dir, name, name)
    }

    /// Makes a pipe at `at` that is to have `name`; leaves none behind where that fails.
    fn create_at(dir: &Arc<PipeDir>, at: &OsStr, name: &OsStr) -> io::Result<Self> {
        mkfifoat(dir, at, MODE)?;
        let (handle, id) = hold(dir, at).inspect_err(|_| {
            // Nothing more can be done where it stays: it is swept as dead.
            let _ = unlink_ours(dir, at);
        })?;
        Ok(Self { dir: Arc::clone(dir), name: name.to_owned(), handle, id, released: OnceLock::new() })
    }

    /// Makes a pipe that is to succeed this one, under a name that no reader takes for a pipe's.
    fn create_aside(&self) -> io::Result<(String, Self)> {
        let others = iter::repeat_with(hidden::unforeseen);
        // The first one again, once what had it is gone.
        for n in [0, 0].into_iter().chain(others).take(MAX_ASIDE_NAMES) {
            let aside = hidden::successor(&self.name, n);
            match Self::create_at(&self.dir, aside.as_ref(), &self.name) {
                Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
                created => return Ok((aside, created?)),
            }
            // Nobody else uses this name while ours leads to us: a pipe of ours was left by a process of equal pid that was
            // killed at this very step.
            let _ = unlink_ours(&self.dir, aside.as_ref());
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Puts a fresh pipe in the place of this one, which is retired by that.
    ///
    /// Readers that have this one open keep it; those that come later find the fresh one. `NotFound` if the name does
    /// not lead here any more.
    pub(crate) fn succeed(&self) -> io::Result<Self> {
        let (aside, fresh) = self.create_aside()?;
        let Err(err) = self.give_way_to(&aside) else { return Ok(fresh) };
        let _ = fresh.unlink(aside.as_ref());
        // It may have had the name for an instant.
        fresh.free_stranded();
        Err(err)
    }

    /// Exchanges this pipe for what stands aside, and removes it; not what somebody else put under its name at this very
    /// moment.
    fn give_way_to(&self, aside: &str) -> io::Result<()> {
        let exchange = || {
            let (dir, name) = (&self.dir, self.name.as_os_str());
            renameat2(dir, aside, dir, name, RenameFlags::RENAME_EXCHANGE)
        };
        match exchange() {
            // Some file systems cannot: there a look before has to do.
            Err(nix::Error::EINVAL | nix::Error::ENOSYS) if self.is_named()? => {
                return Ok(renameat(&self.dir, aside, &self.dir, self.name.as_os_str())?);
            }
            exchanged => exchanged?,
        }
        if self.has(aside.as_ref())? {
            // Where that is refused all of a sudden it goes with the next exchange, which needs this name, or is swept as dead.
            let _ = unlinkat(&self.dir, aside, UnlinkatFlags::NoRemoveDir);
            return Ok(());
        }
        exchange()?;
        Err(io::ErrorKind::NotFound.into())
    }

    /// Removes a name if it leads to this pipe.
    fn unlink(&self, name: &OsStr) -> io::Result<()> {
        if self.has(name)? {
            unlinkat(&self.dir, name, UnlinkatFlags::NoRemoveDir)?;
        }
        Ok(())
    }

    /// Says whether a name in its directory leads to it.
    fn has(&self, name: &OsStr) -> io::Result<bool> {
        Ok(self.dir.node(name)?.is_some_and(|node| node.id == self.id))
    }

    /// Says whether the program left our descriptors of it open, so that no other file can have got its inode number.
    pub(crate) fn is_held(&self) -> bool {
        // Both are asked: what the program closed is to be noticed before anything is opened anew.
        self.handle.is_still_open() & self.dir.is_open()
    }

    /// Returns its directory, its name there, and which file it is.
    pub(crate) fn whereabouts(&self) -> (BorrowedFd<'_>, &OsStr, FileId) {
        (self.dir.as_fd(), &self.name, self.id)
    }

    /// Says whether its name in its directory still leads to it.
    pub(crate) fn is_named(&self) -> io::Result<bool> {
        self.has(&self.name)
    }

    /// Removes it from the directory if its name still leads to it.
    pub(crate) fn remove(&self) -> io::Result<()> {
        remove_judged(&self.dir, &self.name, self.id).map(drop)
    }

    /// Blocks until a reader opens it, or until [`release`](Self::release); returns the write end.
    ///
    /// Sleeps in `open(2)` without waking up meanwhile. Without `/proc` it returns at once, with `None` if there is no
    /// reader yet.
    pub(crate) fn wait_for_reader(&self) -> io::Result<Option<FdGuard>> {
        match FdGuard::open_blocking(self.id, || self.open_inode(OFlag::O_WRONLY)) {
            Ok(end) => Ok(Some(end)),
            Err(nix::Error::ENOENT | nix::Error::ENOTDIR) => self.look_for_reader(),
            Err(err) => Err(err.into()),
        }
    }

    /// Ends the present wait for a reader and all later ones.
    pub(crate) fn release(&self) -> io::Result<()> {
        if self.released.get().is_none() {
            let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK;
            let end = FdGuard::open(|| match self.open_inode(flags) {
                // The thread may sleep all the same, since before the program changed its root.
                Err(nix::Error::ENOENT | nix::Error::ENOTDIR) => self.open_name(flags),
                opened => Ok(opened?),
            })?;
            // Of two ends that are opened at the same time one is enough.
            let _ = self.released.set(end);
        }
        Ok(())
    }

    /// Gives an end of file to a reader that waits on this pipe after it was retired.
    ///
    /// Such a one had looked up the name before the fresh pipe took it and opened afterwards. Nothing is written: a
    /// slow reader of the snapshot cannot be told from it.
    pub(crate) fn free_stranded(&self) {
        // Refused when nobody has it open, which is the rule. A child that kept the end would keep the reader waiting.
        let _ = FdGuard::open(|| self.open_inode(OFlag::O_WRONLY | OFlag::O_NONBLOCK));
    }

    /// Returns the write end if a reader has opened the pipe; asks by its name.
    fn look_for_reader(&self) -> io::Result<Option<FdGuard>> {
        match FdGuard::open(|| self.open_name(OFlag::O_WRONLY | OFlag::O_NONBLOCK)) {
            Err(err) if err.raw_os_error() == Some(libc::ENXIO) => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// Opens an end of this very inode, wherever it is named. `ENOENT` if that cannot be reached here: without `/proc`,
    /// or after the program closed our descriptor and its number led elsewhere.
    fn open_inode(&self, flags: OFlag) -> nix::Result<OwnedFd> {
        let path = format!("/proc/self/fd/{}", self.handle.as_raw_fd());
        let end = loop {
            match open(path.as_str(), flags | OFlag::O_CLOEXEC, Mode::empty()) {
                Err(nix::Error::EINTR) => {}
                opened => break opened?,
            }
        };
        if self.is_end(&end) { Ok(end) } else { Err(nix::Error::ENOENT) }
    }

    /// Opens an end through the name, or through the path where the program closed the directory; `NotFound` if that does
    /// not lead here. Must not be made to wait.
    fn open_name(&self, flags: OFlag) -> io::Result<OwnedFd> {
        let (name, flags) = (self.name.as_os_str(), flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW);
        let end = if !self.dir.is_open() {
            open(&self.dir.path().join(name), flags, Mode::empty())?
        } else if self.is_named()? {
            openat(&self.dir, name, flags, Mode::empty())?
        } else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if self.is_end(&end) { Ok(end) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn is_end(&self, opened: &OwnedFd) -> bool {
        Node::of(opened).is_ok_and(|node| node.id == self.id)
    }
}

/// Gets hold of the pipe that was just made under a name, and gives it its mode.
fn hold(dir: &PipeDir, name: &OsStr) -> io::Result<(FdGuard, FileId)> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let handle = FdGuard::open(|| openat(dir, name, flags, Mode::empty()))?;
    let node = Node::of(&*handle)?;
    if !is_ours(node) {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    if node.mode != MODE.bits() {
        // By name, because a descriptor of O_PATH cannot be used. In a directory that passed the checks nobody but
        // us and root can have put something else there.
        fchmodat(dir, name, MODE, FchmodatFlags::FollowSymlink)?;
    }
    Ok((handle, node.id))
}

/// Removes what has a name if it is a pipe of ours.
fn unlink_ours(dir: &PipeDir, name: &OsStr) -> io::Result<()> {
    if dir.node(name)?.is_some_and(is_ours) {
        unlinkat(dir, name, UnlinkatFlags::NoRemoveDir)?;
    }
    Ok(())
}

fn is_ours(node: Node) -> bool {
    node.is_fifo && node.owner == Uid::effective().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::io::{Read, Write};
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Duration;

    const SOON: Duration = Duration::from_secs(60);

    fn first() -> (tempfile::TempDir, Arc<PipeDir>, Fifo) {
        let temp = tempfile::tempdir().unwrap();
        let dir = Arc::new(PipeDir::open(temp.path()).unwrap());
        let fifo = Fifo::create(&dir, "1.stats".as_ref()).unwrap();
        (temp, dir, fifo)
    }

    #[test]
    fn a_successor_takes_the_name_and_nothing_else_is_left() {
        let (_temp, dir, fifo) = first();
        let fresh = fifo.succeed().unwrap();
        assert!(fresh.is_named().unwrap());
        assert!(!fifo.is_named().unwrap());
        assert_eq!(dir.names().unwrap(), ["1.stats"]);
        let node = dir.node("1.stats".as_ref()).unwrap().unwrap();
        assert_eq!((node.is_fifo, node.mode), (true, 0o644));
        assert_eq!(Node::of(&*fifo.handle).unwrap().n_links, 0);
    }

    #[test]
    fn nothing_that_has_the_name_is_replaced() {
        let (temp, dir, fifo) = first();
        assert_eq!(Fifo::create(&dir, "1.stats".as_ref()).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        fs::remove_file(temp.path().join("1.stats")).unwrap();
        fs::write(temp.path().join("1.stats"), "precious").unwrap();
        // Also where that comes after the fresh pipe was made: nothing is looked at before.
        assert_eq!(fifo.succeed().unwrap_err().kind(), io::ErrorKind::NotFound);
        Fifo::create(&dir, "aside".as_ref()).unwrap();
        assert_eq!(fifo.give_way_to("aside").unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::remove_file(temp.path().join("aside")).unwrap();
        fifo.remove().unwrap();
        assert_eq!(fs::read(temp.path().join("1.stats")).unwrap(), b"precious");
        assert_eq!(dir.names().unwrap(), ["1.stats"]);
    }

    #[test]
    fn what_a_killed_predecessor_left_aside_is_no_obstacle() {
        let (temp, dir, fifo) = first();
        Fifo::create(&dir, ".1.stats.new0".as_ref()).unwrap();
        assert_eq!(fifo.create_aside().unwrap().0, ".1.stats.new0");
        let fresh = fifo.succeed().unwrap();
        assert!(fresh.is_named().unwrap());
        assert_eq!(dir.names().unwrap(), ["1.stats"]);
        fs::write(temp.path().join(".1.stats.new0"), "not ours").unwrap();
        assert!(fresh.succeed().unwrap().is_named().unwrap());
        assert_eq!(fs::read(temp.path().join(".1.stats.new0")).unwrap(), b"not ours");
        assert_eq!(dir.names().unwrap().len(), 2);
    }

    #[test]
    fn a_reader_and_the_write_end_find_each_other() {
        let (temp, _dir, fifo) = first();
        let path = temp.path().join("1.stats");
        let reading = thread::spawn(move || fs::read(path).unwrap());
        (&*fifo.wait_for_reader().unwrap().unwrap()).write_all(b"a: 1\n").unwrap();
        assert_eq!(reading.join().unwrap(), b"a: 1\n");
    }

    #[test]
    fn a_reader_is_found_by_the_name_without_waiting() {
        let (temp, _dir, fifo) = first();
        assert!(fifo.look_for_reader().unwrap().is_none());
        let mut reader = File::from(fifo.open_name(OFlag::O_RDONLY | OFlag::O_NONBLOCK).unwrap());
        (&*fifo.look_for_reader().unwrap().unwrap()).write_all(b"a: 1\n").unwrap();
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert_eq!(read, "a: 1\n");
        fs::remove_file(temp.path().join("1.stats")).unwrap();
        assert_eq!(fifo.look_for_reader().unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_stranger_that_got_our_descriptors_number_gets_nothing() {
        let (temp, _dir, mut fifo) = first();
        let stranger = temp.path().join("stranger");
        // As after the program closed what it did not know and opened a file.
        fifo.handle = FdGuard::open(|| File::create(&stranger).map(OwnedFd::from)).unwrap();
        let mut reader = File::from(fifo.open_name(OFlag::O_RDONLY | OFlag::O_NONBLOCK).unwrap());
        (&*fifo.wait_for_reader().unwrap().unwrap()).write_all(b"a: 1\n").unwrap();
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert_eq!((read.as_str(), fs::read(stranger).unwrap().len()), ("a: 1\n", 0));
        drop(reader);
        fifo.release().unwrap();
        assert!(Node::of(&**fifo.released.get().unwrap()).unwrap().is_fifo);
    }

    #[test]
    fn release_ends_the_present_wait_and_later_ones() {
        let (_temp, _dir, fifo) = first();
        let fifo = Arc::new(fifo);
        let (done, ended) = channel();
        let waiter = Arc::clone(&fifo);
        thread::spawn(move || {
            for _ in 0..2 {
                done.send(waiter.wait_for_reader().unwrap().is_some()).unwrap();
            }
        });
        fifo.release().unwrap();
        assert_eq!((ended.recv_timeout(SOON), ended.recv_timeout(SOON)), (Ok(true), Ok(true)));
    }

    #[test]
    fn a_reader_stranded_on_a_retired_pipe_gets_its_end_of_file() {
        let (_temp, _dir, fifo) = first();
        fifo.succeed().unwrap();
        let path = format!("/proc/self/fd/{}", fifo.handle.as_raw_fd());
        let (done, ended) = channel();
        thread::spawn(move || done.send(fs::read(path).unwrap()).unwrap());
        // The thread may not be there yet, so it is freed until it was.
        let freed = (0..10_000).find_map(|_| {
            fifo.free_stranded();
            ended.recv_timeout(Duration::from_millis(1)).ok()
        });
        assert_eq!(freed, Some(Vec::new()));
    }
}
