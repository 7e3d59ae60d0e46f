//! What a name or a descriptor leads to: which file it is, of which kind, and whose.
//!
//! Owns the comparison of files by device and inode number. It opens, changes and removes nothing. Called by
//! everything here that must know whether a name still leads where it did.

use nix::fcntl::AtFlags;
use nix::sys::stat::{FileStat, SFlag, fstat, fstatat};
use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;

/// Which file: device and inode number.
///
/// The number is given to a new file once the old one is gone, so compare only while a descriptor of the old one
/// is held.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct FileId {
    /// The device that the file is on.
    pub dev: u64,
    /// The inode number on that device.
    pub ino: u64,
}

/// What is known of a file without opening it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Node {
    /// Which file it is.
    pub id: FileId,
    /// The user id of its owner.
    pub owner: u32,
    /// The permission bits, with the sticky bit.
    pub mode: u32,
    /// The number of names that lead to it; 0 once it was removed.
    pub n_links: u64,
    /// Whether it is a named pipe.
    pub is_fifo: bool,
}

impl Node {
    /// Looks at an open file (`fstat(2)`).
    ///
    /// # Errors
    /// What the system answers.
    pub fn of(descriptor: impl AsFd) -> io::Result<Self> {
        Ok(Self::from(fstat(descriptor)?))
    }

    /// Looks at a name in an open directory, not through a link (`fstatat(2)`); `None` if nothing has that name.
    ///
    /// # Errors
    /// What the system answers, except that the name does not exist.
    pub fn named(dir: impl AsFd, name: &OsStr) -> io::Result<Option<Self>> {
        match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Self::from(stat))),
            Err(nix::Error::ENOENT) => Ok(None),
            Err(err) => Err(err.into()),
        }
    }
}

impl From<FileStat> for Node {
    // The fields' widths differ between architectures; each is at most as wide as here.
    #[allow(clippy::useless_conversion, reason = "the conversions are needed on 32-bit targets")]
    fn from(stat: FileStat) -> Self {
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
        let by_name = Node::named(&dir, "a".as_ref()).unwrap();
        assert_eq!(by_name, Some(Node::of(&file).unwrap()));
        assert!(!by_name.unwrap().is_fifo);
    }

    #[test]
    fn a_missing_name_is_no_error() {
        let temp = tempfile::tempdir().unwrap();
        let dir = File::open(temp.path()).unwrap();
        assert_eq!(Node::named(&dir, "a".as_ref()).unwrap(), None);
    }

    #[test]
    fn a_link_is_looked_at_itself() {
        let temp = tempfile::tempdir().unwrap();
        let dir = File::open(temp.path()).unwrap();
        nix::unistd::mkfifo(&temp.path().join("fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        std::os::unix::fs::symlink("fifo", temp.path().join("link")).unwrap();
        assert!(Node::named(&dir, "fifo".as_ref()).unwrap().unwrap().is_fifo);
        assert!(!Node::named(&dir, "link".as_ref()).unwrap().unwrap().is_fifo);
    }
}
