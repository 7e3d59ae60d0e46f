//! File status: the identity, kind, owner and mode of a file.
//!
//! Owns the comparison of files by device and inode number. It opens, changes and removes nothing.

use nix::fcntl::AtFlags;
use nix::sys::stat::{self as nix_stat, SFlag, fstat, fstatat};
use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;

/// The identity of a file: device and inode number.
///
/// Once a file is deleted, the system gives its inode number to a new file. So compare identities only while a descriptor of
/// the old file is open.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct FileId {
    /// The device that holds the file.
    pub dev: u64,
    /// The inode number on that device.
    pub ino: u64,
}

/// The status of a file, read without opening it.
///
/// ```
/// use statvent_posix::stat::FileStat;
/// use std::fs::File;
///
/// # let temp = tempfile::tempdir()?;
/// let dir = File::open(temp.path())?;
/// let file = File::create(temp.path().join("a"))?;
/// assert_eq!(FileStat::at(&dir, "a".as_ref())?, Some(FileStat::of_fd(&file)?));
/// assert_eq!(FileStat::at(&dir, "b".as_ref())?, None);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FileStat {
    /// The identity of the file.
    pub id: FileId,
    /// The user id of the owner.
    pub owner: u32,
    /// The permission bits, with the sticky bit.
    pub mode: u32,
    /// The number of hard links; 0 once the file was removed.
    pub n_links: u64,
    /// Whether it is a named pipe.
    pub is_fifo: bool,
}

impl FileStat {
    /// Reads the status of an open file (`fstat(2)`).
    ///
    /// # Errors
    /// The error of the system call.
    pub fn of_fd(fd: impl AsFd) -> io::Result<Self> {
        Ok(Self::from(fstat(fd)?))
    }

    /// Reads the status of a name in an open directory (`fstatat(2)`), without following a symbolic link. `None` if the name
    /// does not exist.
    ///
    /// # Errors
    /// The error of the system call, except `ENOENT`.
    pub fn at(dir: impl AsFd, name: &OsStr) -> io::Result<Option<Self>> {
        match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Self::from(stat))),
            Err(nix::Error::ENOENT) => Ok(None),
            Err(err) => Err(err.into()),
        }
    }
}

impl From<nix_stat::FileStat> for FileStat {
    // The fields' widths differ between architectures; each is at most as wide as here.
    #[allow(clippy::useless_conversion, reason = "the conversions are needed on 32-bit targets")]
    fn from(stat: nix_stat::FileStat) -> Self {
        Self {
            id: FileId { dev: stat.st_dev.into(), ino: stat.st_ino.into() },
            owner: stat.st_uid,
            mode: stat.st_mode & 0o7777,
            n_links: stat.st_nlink.into(),
            is_fifo: stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFIFO.bits(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn name_and_descriptor_of_one_file_agree() {
        let temp = tempfile::tempdir().unwrap();
        let dir = File::open(temp.path()).unwrap();
        let file = File::create(temp.path().join("a")).unwrap();
        let by_name = FileStat::at(&dir, "a".as_ref()).unwrap();
        assert_eq!(by_name, Some(FileStat::of_fd(&file).unwrap()));
        assert!(!by_name.unwrap().is_fifo);
    }

    #[test]
    fn a_missing_name_is_no_error() {
        let temp = tempfile::tempdir().unwrap();
        let dir = File::open(temp.path()).unwrap();
        assert_eq!(FileStat::at(&dir, "a".as_ref()).unwrap(), None);
    }

    #[test]
    fn a_symbolic_link_is_not_followed() {
        let temp = tempfile::tempdir().unwrap();
        let dir = File::open(temp.path()).unwrap();
        nix::unistd::mkfifo(&temp.path().join("fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        std::os::unix::fs::symlink("fifo", temp.path().join("link")).unwrap();
        assert!(FileStat::at(&dir, "fifo".as_ref()).unwrap().unwrap().is_fifo);
        assert!(!FileStat::at(&dir, "link".as_ref()).unwrap().unwrap().is_fifo);
    }
}
