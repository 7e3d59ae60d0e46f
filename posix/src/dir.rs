//! The pipe directory: its path, its creation, its checks and its listing.
//!
//! Owns opening and creating it. Every check and all later work use the opened descriptor, so that a change of the path in
//! between has no effect. It knows nothing of pipes.

pub use crate::error::DirError;
use crate::limits::MAX_LISTED_NAMES;
use crate::sys::fd::FdGuard;
use crate::sys::stat::{FileId, FileStat};
use nix::dir::Dir;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Uid, mkdir};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf, absolute};
use std::{env, io};

/// The default pipe directory.
pub const DEFAULT_PATH: &str = "/tmp/stats-pipe";

/// The environment variable that replaces [`DEFAULT_PATH`].
pub const PATH_VARIABLE: &str = "STATVENT_PIPE_DIR";

const OWN_MODE: Mode = Mode::from_bits_truncate(0o755);
const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// An open pipe directory that passed the checks.
///
/// Holds one descriptor (`AsFd`), for calls relative to the directory. The directory may be renamed or removed meanwhile;
/// [`path_refers_here`](Self::path_refers_here) detects that.
///
/// ```
/// use statvent_posix::PipeDir;
///
/// # let temp = tempfile::tempdir()?;
/// let dir = PipeDir::create(&temp.path().join("pipes"))?;
/// assert!(dir.path_refers_here()?);
/// assert!(dir.names()?.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PipeDir {
    fd: FdGuard,
    path: PathBuf,
    id: FileId,
}

impl PipeDir {
    /// Returns the default path: `$STATVENT_PIPE_DIR` if it is set and not empty, or else [`DEFAULT_PATH`].
    #[must_use]
    pub fn default_path() -> PathBuf {
        match env::var_os(PATH_VARIABLE) {
            Some(path) if !path.is_empty() => path.into(),
            _ => DEFAULT_PATH.into(),
        }
    }

    /// Opens a directory to read the pipes in it. It may belong to any user.
    ///
    /// # Errors
    /// It cannot be opened, is not a directory, or users other than its owner may replace pipes in it.
    pub fn open(path: &Path) -> Result<Self, DirError> {
        Self::open_unchecked(resolve(path)?)?.check_writers()
    }

    /// Opens a directory to publish in it. Creates it and its parents if it does not exist, with mode 0755 independent of the
    /// umask.
    ///
    /// # Errors
    /// Those of [`open`](Self::open); it cannot be created; or it belongs to another user who is not root.
    pub fn create(path: &Path) -> Result<Self, DirError> {
        match Self::open_to_publish(path) {
            Err(DirError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                create_with_parents(&resolve(path)?)?;
                Self::open_to_publish(path)
            }
            opened => opened,
        }
    }

    /// Opens an existing directory to publish in it.
    ///
    /// # Errors
    /// Those of [`open`](Self::open), or it belongs to another user who is not root.
    pub(crate) fn open_to_publish(path: &Path) -> Result<Self, DirError> {
        let dir = Self::open_unchecked(resolve(path)?)?;
        dir.check_owner(Uid::effective())?.check_writers()
    }

    /// Returns whether [`create`](Self::create) would create it again with the same owner and mode: it belongs to this user,
    /// and only this user publishes in it. Creating a directory for several users like this would lock the others out.
    pub(crate) fn is_recreatable(&self) -> bool {
        let uid = Uid::effective().as_raw();
        self.own_stat().is_ok_and(|stat| stat.owner == uid && stat.mode & OTHERS_WRITE == 0)
    }

    /// Returns the absolute path at which it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the identity of the directory.
    #[must_use]
    pub fn id(&self) -> FileId {
        self.id
    }

    /// Returns whether its path still refers to this directory.
    ///
    /// # Errors
    /// The error of the system call, except that the path does not exist.
    pub fn path_refers_here(&self) -> io::Result<bool> {
        let found = FileStat::at(nix::fcntl::AT_FDCWD, self.path.as_os_str())?;
        Ok(found.is_some_and(|stat| stat.id == self.id))
    }

    /// Returns whether the program left its descriptor open.
    pub(crate) fn is_open(&self) -> bool {
        self.fd.is_still_open()
    }

    /// Reads the status of a name in it, without following a symbolic link. `None` if the name does not exist.
    ///
    /// # Errors
    /// The error of the system call.
    pub fn stat(&self, name: &OsStr) -> io::Result<Option<FileStat>> {
        FileStat::at(self, name)
    }

    /// Lists the names in it, unordered, without `.` and `..`; at most [`MAX_LISTED_NAMES`].
    ///
    /// Opens a separate descriptor, so that concurrent listings do not disturb each other.
    ///
    /// # Errors
    /// [`DirError::Open`] if the system refuses.
    pub fn names(&self) -> Result<Vec<OsString>, DirError> {
        self.read_names().map_err(|err| DirError::Open { path: self.path.clone(), source: err.into() })
    }

    fn read_names(&self) -> nix::Result<Vec<OsString>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let names = Dir::openat(self, ".", flags, Mode::empty())?
            .into_iter()
            .map(|entry| entry.map(|entry| OsStr::from_bytes(entry.file_name().to_bytes()).to_owned()));
        names
            .filter(|name| !matches!(name, Ok(dots) if dots == "." || dots == ".."))
            .take(MAX_LISTED_NAMES)
            .collect()
    }

    fn open_unchecked(path: PathBuf) -> Result<Self, DirError> {
        let failed = |source: io::Error| match source.raw_os_error() {
            // Otherwise a parent is not a directory.
            Some(libc::ENOTDIR | libc::ELOOP) if path.symlink_metadata().is_ok() => {
                DirError::NotDirectory { path: path.clone() }
            }
            _ => DirError::Open { path: path.clone(), source },
        };
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = open(&path, flags, Mode::empty()).map_err(|err| failed(err.into()))?;
        let id = FileStat::of_fd(&fd).map_err(failed)?.id;
        Ok(Self { fd: FdGuard::inherited(fd), path, id })
    }

    /// Refuses a directory of another user who is not root.
    fn check_owner(self, user: Uid) -> Result<Self, DirError> {
        let owner = self.own_stat()?.owner;
        if owner == user.as_raw() || owner == 0 {
            return Ok(self);
        }
        Err(DirError::ForeignOwner { path: self.path, owner, expected: user.as_raw() })
    }

    /// Refuses a directory in which users other than the owner may replace files.
    fn check_writers(self) -> Result<Self, DirError> {
        let mode = self.own_stat()?.mode;
        if mode & OTHERS_WRITE == 0 || mode & STICKY != 0 {
            return Ok(self);
        }
        Err(DirError::WritableByOthers { path: self.path, mode })
    }

    fn own_stat(&self) -> Result<FileStat, DirError> {
        FileStat::of_fd(self).map_err(|source| DirError::Open { path: self.path.clone(), source })
    }
}

impl AsFd for PipeDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Makes a path absolute, so that it stays valid when the program changes its working directory. Removes a trailing slash: the
/// system would follow a symbolic link before it, even with `O_NOFOLLOW`.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf, DirError> {
    let path = absolute(path).map_err(|source| DirError::Open { path: path.to_owned(), source })?;
    Ok(path.components().collect())
}

/// Creates a directory and its missing parents. A directory that another process creates meanwhile is no error.
fn create_with_parents(path: &Path) -> Result<(), DirError> {
    let failed = |source: nix::Error| DirError::Create { path: path.to_owned(), source: source.into() };
    let mut created = mkdir(path, OWN_MODE);
    if created == Err(nix::Error::ENOENT)
        && let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty())
    {
        create_with_parents(parent)?;
        created = mkdir(path, OWN_MODE);
    }
    match created {
        Ok(()) => {
            // The umask may have cleared bits. If another process replaced the directory, `fchmod` fails for a directory that
            // is not ours.
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let fd = open(path, flags, Mode::empty()).map_err(failed)?;
            fchmod(fd, OWN_MODE).map_err(failed)
        }
        Err(nix::Error::EEXIST) => Ok(()),
        Err(err) => Err(failed(err)),
    }
}

#[cfg(test)]
mod tests;
