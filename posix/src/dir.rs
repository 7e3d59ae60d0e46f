//! The pipe directory: where it is, how it is made, and whether it can be trusted.
//!
//! Owns opening, creating, checking and listing it. Every check is made on the opened descriptor, and all work in
//! the directory goes through that descriptor, so that nothing changes under a path. It knows nothing of pipes.
//! Called by the recorder (`create`) and by the collector (`open`).

use crate::descriptor::{FdGuard, MORE_DESCRIPTORS, lacks_descriptors};
use crate::node::{FileId, Node};
use nix::dir::Dir;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Uid, mkdir};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf, absolute};
use std::{env, fmt, io};

/// The directory that is used when none is given.
pub const DEFAULT_PATH: &str = "/tmp/stats-pipe";

/// The environment variable that names another directory than [`DEFAULT_PATH`].
pub const PATH_VARIABLE: &str = "STATVENT_PIPE_DIR";

/// The most names that a listing returns.
pub const MAX_NAMES: usize = 65_536;

/// What to do where a directory cannot be used. The variable alone is no advice: a directory that was given goes
/// before it.
pub(crate) const ELSEWHERE: &str = "choose another directory (STATVENT_PIPE_DIR names the default one)";

const OWN_MODE: Mode = Mode::from_bits_truncate(0o755);
const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Why a pipe directory cannot be used.
///
/// `Debug` prints the sentence and its causes, for a `main` that returns it.
#[non_exhaustive]
pub enum DirError {
    /// The system refuses to open or list it.
    Open {
        /// The directory.
        path: PathBuf,
        /// What the system answers.
        source: io::Error,
    },
    /// The system refuses to make it.
    Create {
        /// The directory, or the parent that could not be made.
        path: PathBuf,
        /// What the system answers.
        source: io::Error,
    },
    /// Something else has that name; links are not followed.
    NotDirectory {
        /// Its path.
        path: PathBuf,
    },
    /// It belongs to another user, who could replace our pipes.
    ForeignOwner {
        /// The directory.
        path: PathBuf,
        /// Its owner's user id.
        owner: u32,
        /// Our user id.
        us: u32,
    },
    /// Others may replace the pipes in it.
    WritableByOthers {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl fmt::Display for DirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { path, source } if lacks_descriptors(source) => {
                write!(f, "pipe directory {} cannot be opened: {MORE_DESCRIPTORS}", path.display())
            }
            Self::Open { path, .. } => write!(
                f,
                "pipe directory {} cannot be opened: make it readable, or {ELSEWHERE}",
                path.display()
            ),
            Self::Create { path, .. } => {
                write!(f, "pipe directory {} cannot be made: make it, or {ELSEWHERE}", path.display())
            }
            Self::NotDirectory { path } => write!(
                f,
                "{} is not a directory but a file or a link: remove it, or {ELSEWHERE}",
                path.display()
            ),
            Self::ForeignOwner { path, owner, us } => write!(
                f,
                "pipe directory {0} belongs to user {owner}, expected {us} (us) or 0 (root): for several users \
                 let root own it (`chown root {0} && chmod 1777 {0}`), or {ELSEWHERE}",
                path.display()
            ),
            Self::WritableByOthers { path, mode } => write!(
                f,
                "pipe directory {0} has mode {mode:04o}, in which others may replace pipes: `chmod 755 {0}` if \
                 its owner alone publishes there, `chmod 1777 {0}` if several users do",
                path.display()
            ),
        }
    }
}

impl fmt::Debug for DirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_with_causes(self, f)
    }
}

impl std::error::Error for DirError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Open { source, .. } | Self::Create { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// An open pipe directory that passed the checks.
///
/// Holds one descriptor (`AsFd`), for calls relative to the directory. The directory may be renamed or removed
/// meanwhile; [`leads_here`](Self::leads_here) tells.
#[derive(Debug)]
pub struct PipeDir {
    descriptor: FdGuard,
    path: PathBuf,
    id: FileId,
}

impl PipeDir {
    /// Returns the directory to use when none is given: `$STATVENT_PIPE_DIR` if it is set and not empty, else
    /// [`DEFAULT_PATH`].
    #[must_use]
    pub fn default_path() -> PathBuf {
        match env::var_os(PATH_VARIABLE) {
            Some(path) if !path.is_empty() => path.into(),
            _ => DEFAULT_PATH.into(),
        }
    }

    /// Opens a directory to read the pipes in it.
    ///
    /// It may belong to anyone; whose pipes are read is the reader's choice.
    ///
    /// # Errors
    /// It cannot be opened, is not a directory, or others than its owner may replace pipes in it.
    pub fn open(path: &Path) -> Result<Self, DirError> {
        Self::open_unchecked(resolve(path)?)?.refuse_writable_by_others()
    }

    /// Opens a directory to publish in it; makes it first, with its parents, if nothing is there.
    ///
    /// What is made has mode 0755 whatever the umask.
    ///
    /// # Errors
    /// Those of [`open`](Self::open); it cannot be made; or it belongs to another user who is not root.
    pub fn create(path: &Path) -> Result<Self, DirError> {
        match Self::open_to_publish(path) {
            Err(DirError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                make(&resolve(path)?)?;
                Self::open_to_publish(path)
            }
            opened => opened,
        }
    }

    /// Opens a directory to publish in it, and makes none.
    ///
    /// # Errors
    /// Those of [`open`](Self::open), or it belongs to another user who is not root.
    pub(crate) fn open_to_publish(path: &Path) -> Result<Self, DirError> {
        let dir = Self::open_unchecked(resolve(path)?)?;
        dir.refuse_foreign_owner(Uid::effective())?.refuse_writable_by_others()
    }

    /// Says whether [`create`](Self::create) would make it anew as it was: this user's, who alone publishes there. One
    /// that was set up for several users would lock all others out.
    pub(crate) fn would_be_made_alike(&self) -> bool {
        let us = Uid::effective().as_raw();
        self.look().is_ok_and(|node| node.owner == us && node.mode & OTHERS_WRITE == 0)
    }

    /// Returns the path it was opened at, made absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns which directory it is.
    #[must_use]
    pub fn id(&self) -> FileId {
        self.id
    }

    /// Says whether its path still leads to this directory.
    ///
    /// # Errors
    /// What the system answers, except that nothing is there.
    pub fn leads_here(&self) -> io::Result<bool> {
        let found = Node::named(nix::fcntl::AT_FDCWD, self.path.as_os_str())?;
        Ok(found.is_some_and(|node| node.id == self.id))
    }

    /// Says whether its descriptor is still open, or was closed by the program.
    pub(crate) fn is_open(&self) -> bool {
        self.descriptor.is_still_open()
    }

    /// Looks at what has a name in it, not through a link; `None` if nothing has.
    ///
    /// # Errors
    /// What the system answers.
    pub fn node(&self, name: &OsStr) -> io::Result<Option<Node>> {
        Node::named(self, name)
    }

    /// Lists the names in it, in no order, without `.` and `..`; at most [`MAX_NAMES`].
    ///
    /// Reads through a descriptor of its own, so that listings do not disturb each other.
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
            .take(MAX_NAMES)
            .collect()
    }

    fn open_unchecked(path: PathBuf) -> Result<Self, DirError> {
        let failed = |source: io::Error| match source.raw_os_error() {
            Some(libc::ENOTDIR | libc::ELOOP) => DirError::NotDirectory { path: path.clone() },
            _ => DirError::Open { path: path.clone(), source },
        };
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let descriptor = open(&path, flags, Mode::empty()).map_err(|err| failed(err.into()))?;
        let id = Node::of(&descriptor).map_err(failed)?.id;
        Ok(Self { descriptor: FdGuard::kept_by_children(descriptor), path, id })
    }

    fn refuse_foreign_owner(self, us: Uid) -> Result<Self, DirError> {
        let owner = self.look()?.owner;
        if owner == us.as_raw() || owner == 0 {
            return Ok(self);
        }
        Err(DirError::ForeignOwner { path: self.path, owner, us: us.as_raw() })
    }

    fn refuse_writable_by_others(self) -> Result<Self, DirError> {
        let mode = self.look()?.mode;
        if mode & OTHERS_WRITE == 0 || mode & STICKY != 0 {
            return Ok(self);
        }
        Err(DirError::WritableByOthers { path: self.path, mode })
    }

    fn look(&self) -> Result<Node, DirError> {
        Node::of(self).map_err(|source| DirError::Open { path: self.path.clone(), source })
    }
}

impl AsFd for PipeDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Makes a path mean the same wherever the program goes to, and lets it end with a name: the system would follow a link
/// before a slash, whatever it was told about links.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf, DirError> {
    let path = absolute(path).map_err(|source| DirError::Open { path: path.to_owned(), source })?;
    Ok(path.components().collect())
}

/// Makes a directory and those above it that are missing; one that somebody else makes meanwhile is fine.
fn make(path: &Path) -> Result<(), DirError> {
    let failed = |source: nix::Error| DirError::Create { path: path.to_owned(), source: source.into() };
    let mut made = mkdir(path, OWN_MODE);
    if made == Err(nix::Error::ENOENT)
        && let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty())
    {
        make(parent)?;
        made = mkdir(path, OWN_MODE);
    }
    match made {
        Ok(()) => {
            // The umask may have taken bits away. The descriptor is checked to be ours by `fchmod` itself.
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let descriptor = open(path, flags, Mode::empty()).map_err(failed)?;
            fchmod(descriptor, OWN_MODE).map_err(failed)
        }
        Err(nix::Error::EEXIST) => Ok(()),
        Err(err) => Err(failed(err)),
    }
}

/// Writes an error's own sentence, then each cause after a colon.
pub(crate) fn write_with_causes(err: &dyn std::error::Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{err}")?;
    err.source().map_or(Ok(()), |cause| {
        f.write_str(": ")?;
        write_with_causes(cause, f)
    })
}

#[cfg(test)]
mod tests;
