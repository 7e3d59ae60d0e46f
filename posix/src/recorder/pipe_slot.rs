//! Place of a recorder's pipe: the directory, the name, its lock byte and the current pipe.
//!
//! Owns the choice of the name and the order *lock first, pipe second*. It does not decide when to publish elsewhere.

use crate::dir::PipeDir;
use crate::error::Error;
use crate::liveness::LivenessLock;
use crate::pipe::fifo::Fifo;
use crate::pipe::name::{Label, PipeName};
use crate::pipe::remove::remove_if_same_inode;
use crate::sys::stat::FileStat;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::process;
use std::sync::Arc;

/// What a user chose for an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct EndpointConfig {
    /// The directory's absolute path.
    pub(crate) directory: PathBuf,
    /// The label before the pid in the name.
    pub(crate) label: Option<String>,
}

/// A pipe under its name, with the lock byte of that name.
#[derive(Debug)]
pub(crate) struct PipeSlot {
    dir: Arc<PipeDir>,
    /// Held for as long as the name is used.
    pub(crate) liveness_lock: Arc<LivenessLock>,
    name: String,
    pub(crate) fifo: Arc<Fifo>,
}

impl PipeSlot {
    /// Acquires the first free name and creates a pipe there.
    ///
    /// Only a file makes a name taken, unless it is a dead pipe that we may remove. A held lock byte counts only if a pipe has
    /// the name: that pipe is then alive. Otherwise any user who may read the directory could lock all bytes, and so all names.
    ///
    /// `kept` is the lock of the slot before this one. If it fits, it is used again, so that the lock byte is never
    /// free in between.
    pub(crate) fn acquire(
        config: &EndpointConfig,
        dir: PipeDir,
        kept: Option<&Arc<LivenessLock>>,
    ) -> Result<Self, Error> {
        let label = match config.label.as_deref() {
            Some(label) => Some(Label::new(label).ok_or_else(|| Error::Label { found: label.to_owned() })?),
            None => None,
        };
        let dir = Arc::new(dir);
        let failed = |source| Error::Pipe { path: dir.path().to_owned(), source };
        let pid = process::id();
        for instance in 0..=u16::MAX {
            let name = PipeName { label, pid, instance };
            let liveness_lock = match kept {
                Some(kept) if kept.matches(&dir, &name) => Arc::clone(kept),
                _ => Arc::new(LivenessLock::acquire(&dir, &name).map_err(failed)?),
            };
            let name = name.to_string();
            if let Some(fifo) = create_first_pipe(&dir, name.as_ref(), &liveness_lock).map_err(failed)? {
                return Ok(Self { dir, liveness_lock, name, fifo: Arc::new(fifo) });
            }
        }
        let name = |instance| PipeName { label, pid, instance }.to_string();
        Err(Error::NamesTaken { path: dir.path().to_owned(), first: name(0), last: name(u16::MAX) })
    }

    /// Returns the path of the pipe.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join(&self.name)
    }

    /// Puts a fresh pipe under the name and returns the retired one.
    pub(crate) fn swap(&mut self) -> io::Result<Arc<Fifo>> {
        let fresh = Arc::new(self.fifo.swap()?);
        Ok(std::mem::replace(&mut self.fifo, fresh))
    }

    /// Returns whether a reader that opens the path finds our pipe and can be served there. If a check fails, the answer is
    /// yes.
    pub(crate) fn is_intact(&self) -> bool {
        self.dir.is_open()
            && self.dir.path_refers_here().unwrap_or(true)
            && self.fifo.is_named().unwrap_or(true)
    }

    /// Removes the pipe. Its readers get an end of file instead of a snapshot.
    ///
    /// # Errors
    /// The pipe still has its name, and cannot be removed now. Two cases are no error: the pipe belongs to another user since a
    /// change of user in a directory with the sticky bit, or the path does not lead to it any more because the directory was
    /// moved away. There the pipe stays until a sweeper removes it.
    pub(crate) fn remove_pipe(&self) -> io::Result<()> {
        // If the program closed our descriptors, their numbers may refer to other files.
        let removed = if self.fifo.is_open() { self.fifo.remove() } else { Ok(()) };
        self.fifo.release_stranded_readers();
        removed.or_else(|err| match err.raw_os_error() {
            Some(libc::EPERM) => Ok(()),
            _ if self.is_intact() => Err(err),
            _ => Ok(()),
        })
    }
}

/// Creates the first pipe under a name whose byte we locked; `None` if the name is taken.
fn create_first_pipe(
    dir: &Arc<PipeDir>,
    name: &OsStr,
    liveness_lock: &LivenessLock,
) -> io::Result<Option<Fifo>> {
    // The second attempt follows the removal of a dead pipe.
    for _ in 0..2 {
        match Fifo::create(dir, name) {
            Err(err) if err.kind() == ErrorKind::AlreadyExists => {}
            created => return created.map(Some),
        }
        if !remove_dead_pipe(dir, name, liveness_lock)? {
            return Ok(None);
        }
    }
    Ok(None)
}

/// Removes a pipe that a dead process with our pid left; `false` if the file is no pipe, is not dead, or may not be removed.
fn remove_dead_pipe(dir: &PipeDir, name: &OsStr, liveness_lock: &LivenessLock) -> io::Result<bool> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let found = match openat(dir, name, flags, Mode::empty()) {
        Ok(found) => found,
        Err(nix::Error::ENOENT) => return Ok(true),
        Err(err) => return Err(err.into()),
    };
    let stat = FileStat::of_fd(&found)?;
    // Open first, check second: the recorder that created this pipe locked its byte before, and still holds it if it is alive.
    if !stat.is_fifo || liveness_lock.is_locked_elsewhere()? {
        return Ok(false);
    }
    match remove_if_same_inode(dir, name, stat.id) {
        Err(err) if matches!(err.kind(), ErrorKind::PermissionDenied | ErrorKind::AlreadyExists) => Ok(false),
        removed => removed,
    }
}
