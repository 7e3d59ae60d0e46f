//! One named pipe of this process: creation, waiting for a reader, replacement and removal.
//!
//! Owns `mkfifo`, the opening of a pipe's ends by inode or by name, and the rename of a fresh pipe over the name. Before it
//! changes a file, it compares it with the inode that it created. It knows nothing of stats, and does not choose pipe names.

use crate::dir::PipeDir;
use crate::limits::MAX_STAGING_NAMES;
use crate::pipe::hidden_name::{random_number, staging_name};
use crate::pipe::remove::remove_if_same_inode;
use crate::sys::fd::FdGuard;
use crate::sys::stat::{FileId, FileStat};
use nix::fcntl::{OFlag, RenameFlags, open, openat, renameat, renameat2};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use nix::unistd::{Uid, UnlinkatFlags, mkfifoat, unlinkat};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::{io, iter};

const MODE: Mode = Mode::from_bits_truncate(0o644);

/// A named pipe that this process created: published, or retired.
#[derive(Debug)]
pub(crate) struct Fifo {
    dir: Arc<PipeDir>,
    name: OsString,
    /// An `O_PATH` descriptor. It keeps the inode and opens no end of the pipe.
    path_fd: FdGuard,
    id: FileId,
    /// A read end of our own. While it is open, no wait for a reader blocks.
    wake_end: OnceLock<FdGuard>,
}

impl Fifo {
    /// Creates a pipe of mode 0644, independent of the umask. Fails with `AlreadyExists` if the name exists.
    pub(crate) fn create(dir: &Arc<PipeDir>, name: &OsStr) -> io::Result<Self> {
        Self::create_at(dir, name, name)
    }

    /// Creates a pipe at `initial_name` that will get the name `name`. Leaves no pipe behind if that fails.
    fn create_at(dir: &Arc<PipeDir>, initial_name: &OsStr, name: &OsStr) -> io::Result<Self> {
        mkfifoat(dir, initial_name, MODE)?;
        let (path_fd, id) = open_path_fd(dir, initial_name).inspect_err(|_| {
            // If this fails too, the pipe stays until a sweeper removes it.
            let _ = unlink_own_fifo(dir, initial_name);
        })?;
        Ok(Self { dir: Arc::clone(dir), name: name.to_owned(), path_fd, id, wake_end: OnceLock::new() })
    }

    /// Creates the replacement of this pipe under a staging name.
    fn create_staged(&self) -> io::Result<(String, Self)> {
        let others = iter::repeat_with(random_number);
        // The first name is tried twice: the first attempt may find a leftover file and remove it.
        for n in [0, 0].into_iter().chain(others).take(MAX_STAGING_NAMES) {
            let staged = staging_name(&self.name, n);
            match Self::create_at(&self.dir, staged.as_ref(), &self.name) {
                Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
                created => return Ok((staged, created?)),
            }
            // While our name refers to us, only we use this staging name. So a pipe of our user there is a leftover of a
            // process with equal pid that was killed during a swap.
            let _ = unlink_own_fifo(&self.dir, staged.as_ref());
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Replaces this pipe by a fresh one under the same name, and returns the fresh one. This pipe is then retired.
    ///
    /// Readers that have this pipe open keep it; later readers find the fresh one. Fails with `NotFound` if the name does not
    /// refer to this pipe any more.
    pub(crate) fn swap(&self) -> io::Result<Self> {
        let (staged, fresh) = self.create_staged()?;
        let Err(err) = self.exchange_names(&staged) else { return Ok(fresh) };
        let _ = fresh.unlink(staged.as_ref());
        // The fresh pipe may have had the name for a moment, and a reader may have opened it.
        fresh.release_stranded_readers();
        Err(err)
    }

    /// Exchanges this pipe with the one at `staged`, and removes it. If another file got the name at this moment, that file
    /// keeps it.
    fn exchange_names(&self, staged: &str) -> io::Result<()> {
        let exchange = || {
            let (dir, name) = (&self.dir, self.name.as_os_str());
            renameat2(dir, staged, dir, name, RenameFlags::RENAME_EXCHANGE)
        };
        match exchange() {
            // Some file systems do not support RENAME_EXCHANGE: check first, and accept the race.
            Err(nix::Error::EINVAL | nix::Error::ENOSYS) => {
                if !self.is_named()? {
                    return Err(io::ErrorKind::NotFound.into());
                }
                return Ok(renameat(&self.dir, staged, &self.dir, self.name.as_os_str())?);
            }
            exchanged => exchanged?,
        }
        if self.name_refers_here(staged.as_ref())? {
            // If this fails, the next swap, which needs this staging name, removes the pipe, or else a sweeper does.
            let _ = unlinkat(&self.dir, staged, UnlinkatFlags::NoRemoveDir);
            return Ok(());
        }
        exchange()?;
        Err(io::ErrorKind::NotFound.into())
    }

    /// Removes a name if it refers to this pipe.
    fn unlink(&self, name: &OsStr) -> io::Result<()> {
        if self.name_refers_here(name)? {
            unlinkat(&self.dir, name, UnlinkatFlags::NoRemoveDir)?;
        }
        Ok(())
    }

    /// Returns whether a name in its directory refers to this pipe.
    fn name_refers_here(&self, name: &OsStr) -> io::Result<bool> {
        Ok(self.dir.stat(name)?.is_some_and(|stat| stat.id == self.id))
    }

    /// Returns whether the program left our descriptors open. Only then can no other file have its inode number.
    pub(crate) fn is_open(&self) -> bool {
        // `&`, not `&&`: both must notice a closed descriptor before we open another one.
        self.path_fd.is_still_open() & self.dir.is_open()
    }

    /// Returns its directory, its name there, and its identity.
    pub(crate) fn location(&self) -> (BorrowedFd<'_>, &OsStr, FileId) {
        (self.dir.as_fd(), &self.name, self.id)
    }

    /// Returns whether its name in its directory still refers to this pipe.
    pub(crate) fn is_named(&self) -> io::Result<bool> {
        self.name_refers_here(&self.name)
    }

    /// Removes it from the directory if its name still refers to it.
    pub(crate) fn remove(&self) -> io::Result<()> {
        remove_if_same_inode(&self.dir, &self.name, self.id).map(drop)
    }

    /// Blocks until a reader opens the pipe, or until [`wake`](Self::wake). Returns the write end.
    ///
    /// Sleeps in `open(2)` without wake-ups. Without `/proc` it returns at once; the result is then `None` if there is no
    /// reader yet.
    pub(crate) fn wait_for_reader(&self) -> io::Result<Option<FdGuard>> {
        match FdGuard::open_blocking(self.id, || self.open_inode(OFlag::O_WRONLY)) {
            Ok(end) => Ok(Some(end)),
            Err(nix::Error::ENOENT | nix::Error::ENOTDIR) => self.try_open_writer(),
            Err(err) => Err(err.into()),
        }
    }

    /// Ends the current wait for a reader, and all later ones.
    pub(crate) fn wake(&self) -> io::Result<()> {
        if self.wake_end.get().is_none() {
            let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK;
            let end = FdGuard::open(|| match self.open_inode(flags) {
                // The program changed its root directory while the thread slept in `open(2)`: use the name.
                Err(nix::Error::ENOENT | nix::Error::ENOTDIR) => self.open_name(flags),
                opened => Ok(opened?),
            })?;
            // If another thread opened one at the same time, one is enough.
            let _ = self.wake_end.set(end);
        }
        Ok(())
    }

    /// Gives an end of file to readers that wait on this pipe after it was retired.
    ///
    /// Such a reader looked up the name before the swap and opened the pipe after it. Nothing is written, because a slow reader
    /// of the snapshot may have the pipe open as well.
    pub(crate) fn release_stranded_readers(&self) {
        // Fails if no reader has it open, which is the usual case. A child that kept this end would keep the reader waiting.
        let _ = FdGuard::open(|| self.open_inode(OFlag::O_WRONLY | OFlag::O_NONBLOCK));
    }

    /// Returns the write end if a reader has opened the pipe. Opens it by name.
    fn try_open_writer(&self) -> io::Result<Option<FdGuard>> {
        match FdGuard::open(|| self.open_name(OFlag::O_WRONLY | OFlag::O_NONBLOCK)) {
            Err(err) if err.raw_os_error() == Some(libc::ENXIO) => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// Opens an end of this inode, with or without a name. Fails with `ENOENT` if it cannot be reached: without `/proc`, or
    /// after the program closed our descriptor and opened another file with its number.
    fn open_inode(&self, flags: OFlag) -> nix::Result<OwnedFd> {
        let path = format!("/proc/self/fd/{}", self.path_fd.as_raw_fd());
        let end = loop {
            match open(path.as_str(), flags | OFlag::O_CLOEXEC, Mode::empty()) {
                Err(nix::Error::EINTR) => {}
                opened => break opened?,
            }
        };
        if self.is_same_inode(&end) { Ok(end) } else { Err(nix::Error::ENOENT) }
    }

    /// Opens an end by name, or by path if the program closed the directory. Fails with `NotFound` if that refers to another
    /// file. `flags` must not let it block.
    fn open_name(&self, flags: OFlag) -> io::Result<OwnedFd> {
        let (name, flags) = (self.name.as_os_str(), flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW);
        let end = if !self.dir.is_open() {
            open(&self.dir.path().join(name), flags, Mode::empty())?
        } else if self.is_named()? {
            openat(&self.dir, name, flags, Mode::empty())?
        } else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if self.is_same_inode(&end) { Ok(end) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn is_same_inode(&self, opened: &OwnedFd) -> bool {
        FileStat::of_fd(opened).is_ok_and(|stat| stat.id == self.id)
    }
}

/// Opens an `O_PATH` descriptor of a pipe that was just created, and sets the pipe's mode.
fn open_path_fd(dir: &PipeDir, name: &OsStr) -> io::Result<(FdGuard, FileId)> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let path_fd = FdGuard::open(|| openat(dir, name, flags, Mode::empty()))?;
    let stat = FileStat::of_fd(&*path_fd)?;
    if !is_own_fifo(stat) {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    if stat.mode != MODE.bits() {
        // By name, because fchmod(2) refuses an O_PATH descriptor. In a directory that passed the checks, only we and root can
        // have put another file there.
        fchmodat(dir, name, MODE, FchmodatFlags::FollowSymlink)?;
    }
    Ok((path_fd, stat.id))
}

/// Removes a name if it refers to a pipe of our user.
fn unlink_own_fifo(dir: &PipeDir, name: &OsStr) -> io::Result<()> {
    if dir.stat(name)?.is_some_and(is_own_fifo) {
        unlinkat(dir, name, UnlinkatFlags::NoRemoveDir)?;
    }
    Ok(())
}

fn is_own_fifo(stat: FileStat) -> bool {
    stat.is_fifo && stat.owner == Uid::effective().as_raw()
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
    fn a_replacement_takes_the_name_and_nothing_else_is_left() {
        let (_temp, dir, fifo) = first();
        let fresh = fifo.swap().unwrap();
        assert!(fresh.is_named().unwrap());
        assert!(!fifo.is_named().unwrap());
        assert_eq!(dir.names().unwrap(), ["1.stats"]);
        let stat = dir.stat("1.stats".as_ref()).unwrap().unwrap();
        assert_eq!((stat.is_fifo, stat.mode), (true, 0o644));
        assert_eq!(FileStat::of_fd(&*fifo.path_fd).unwrap().n_links, 0);
    }

    #[test]
    fn another_file_that_has_the_name_is_not_replaced() {
        let (temp, dir, fifo) = first();
        assert_eq!(Fifo::create(&dir, "1.stats".as_ref()).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        fs::remove_file(temp.path().join("1.stats")).unwrap();
        fs::write(temp.path().join("1.stats"), "precious").unwrap();
        // As if the file came after the fresh pipe was created: the swap checks nothing before.
        assert_eq!(fifo.swap().unwrap_err().kind(), io::ErrorKind::NotFound);
        Fifo::create(&dir, "staged".as_ref()).unwrap();
        assert_eq!(fifo.exchange_names("staged").unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::remove_file(temp.path().join("staged")).unwrap();
        fifo.remove().unwrap();
        assert_eq!(fs::read(temp.path().join("1.stats")).unwrap(), b"precious");
        assert_eq!(dir.names().unwrap(), ["1.stats"]);
    }

    #[test]
    fn a_staged_pipe_of_a_killed_process_is_no_obstacle() {
        let (temp, dir, fifo) = first();
        Fifo::create(&dir, ".1.stats.new0".as_ref()).unwrap();
        assert_eq!(fifo.create_staged().unwrap().0, ".1.stats.new0");
        let fresh = fifo.swap().unwrap();
        assert!(fresh.is_named().unwrap());
        assert_eq!(dir.names().unwrap(), ["1.stats"]);
        fs::write(temp.path().join(".1.stats.new0"), "not ours").unwrap();
        assert!(fresh.swap().unwrap().is_named().unwrap());
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
        assert!(fifo.try_open_writer().unwrap().is_none());
        let mut reader = File::from(fifo.open_name(OFlag::O_RDONLY | OFlag::O_NONBLOCK).unwrap());
        (&*fifo.try_open_writer().unwrap().unwrap()).write_all(b"a: 1\n").unwrap();
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert_eq!(read, "a: 1\n");
        fs::remove_file(temp.path().join("1.stats")).unwrap();
        assert_eq!(fifo.try_open_writer().unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_file_of_the_program_that_got_our_descriptors_number_is_not_written() {
        let (temp, _dir, mut fifo) = first();
        let foreign = temp.path().join("foreign");
        // As if the program closed descriptors it does not know and opened a file.
        fifo.path_fd = FdGuard::open(|| File::create(&foreign).map(OwnedFd::from)).unwrap();
        let mut reader = File::from(fifo.open_name(OFlag::O_RDONLY | OFlag::O_NONBLOCK).unwrap());
        (&*fifo.wait_for_reader().unwrap().unwrap()).write_all(b"a: 1\n").unwrap();
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert_eq!((read.as_str(), fs::read(foreign).unwrap().len()), ("a: 1\n", 0));
        drop(reader);
        fifo.wake().unwrap();
        assert!(FileStat::of_fd(&**fifo.wake_end.get().unwrap()).unwrap().is_fifo);
    }

    #[test]
    fn wake_ends_the_current_wait_and_later_ones() {
        let (_temp, _dir, fifo) = first();
        let fifo = Arc::new(fifo);
        let (done, ended) = channel();
        let waiter = Arc::clone(&fifo);
        thread::spawn(move || {
            for _ in 0..2 {
                done.send(waiter.wait_for_reader().unwrap().is_some()).unwrap();
            }
        });
        fifo.wake().unwrap();
        assert_eq!((ended.recv_timeout(SOON), ended.recv_timeout(SOON)), (Ok(true), Ok(true)));
    }

    #[test]
    fn a_reader_stranded_on_a_retired_pipe_gets_its_end_of_file() {
        let (_temp, _dir, fifo) = first();
        fifo.swap().unwrap();
        let path = format!("/proc/self/fd/{}", fifo.path_fd.as_raw_fd());
        let (done, ended) = channel();
        thread::spawn(move || done.send(fs::read(path).unwrap()).unwrap());
        // The thread may not have opened the pipe yet, so repeat until it got its end of file.
        let read = (0..10_000).find_map(|_| {
            fifo.release_stranded_readers();
            ended.recv_timeout(Duration::from_millis(1)).ok()
        });
        assert_eq!(read, Some(Vec::new()));
    }
}
