//! Where a recorder publishes: a directory, a name in it, the byte that proves life, and the pipe there now.
//!
//! Owns the choice of the name and the order *lock first, pipe second*. It does not decide when to move (see
//! `publication`). Called by `publication` alone.

use crate::dir::PipeDir;
use crate::error::Error;
use crate::fifo::Fifo;
use crate::liveness::Claim;
use crate::node::Node;
use crate::sweep::remove_judged;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use statvent_core::pipe_name::{Label, PipeName};
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::process;
use std::sync::Arc;

/// What a user chose of a site.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The directory's absolute path.
    pub(crate) directory: PathBuf,
    /// What stands before the pid in the name.
    pub(crate) label: Option<String>,
}

/// A pipe under its name, held by its byte.
#[derive(Debug)]
pub(crate) struct Site {
    dir: Arc<PipeDir>,
    /// Held for as long as the name is used.
    pub(crate) claim: Arc<Claim>,
    name: String,
    pub(crate) fifo: Arc<Fifo>,
}

impl Site {
    /// Takes the first free name and makes a pipe there.
    ///
    /// Free is a name that nothing has, or nothing but a dead pipe that we may remove. A byte that is held takes no name
    /// by itself, because whoever may read the directory can hold all of them.
    ///
    /// `kept` is the byte of the site before this one: it is not taken twice, and so never free in between.
    pub(crate) fn establish(place: &Place, dir: PipeDir, kept: Option<&Arc<Claim>>) -> Result<Self, Error> {
        let label = match place.label.as_deref() {
            Some(label) => Some(Label::new(label).ok_or_else(|| Error::Label { found: label.to_owned() })?),
            None => None,
        };
        let dir = Arc::new(dir);
        let failed = |source| Error::Pipe { path: dir.path().to_owned(), source };
        let pid = process::id();
        for n in 0..=u16::MAX {
            let name = PipeName { label, pid, n };
            let claim = match kept {
                Some(kept) if kept.is_of(&dir, &name) => Arc::clone(kept),
                _ => Arc::new(Claim::take(&dir, &name).map_err(failed)?),
            };
            let name = name.to_string();
            if let Some(fifo) = first_fifo(&dir, name.as_ref(), &claim).map_err(failed)? {
                return Ok(Self { dir, claim, name, fifo: Arc::new(fifo) });
            }
        }
        let name = |n| PipeName { label, pid, n }.to_string();
        Err(Error::NamesTaken { path: dir.path().to_owned(), first: name(0), last: name(u16::MAX) })
    }

    /// Returns the path of the pipe.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join(&self.name)
    }

    /// Puts a fresh pipe under the name and returns the retired one.
    pub(crate) fn renew(&mut self) -> io::Result<Arc<Fifo>> {
        let fresh = Arc::new(self.fifo.succeed()?);
        Ok(std::mem::replace(&mut self.fifo, fresh))
    }

    /// Says whether a reader that comes by the path finds our pipe, and can be served there. What cannot be told counts as
    /// intact.
    pub(crate) fn is_intact(&self) -> bool {
        self.dir.is_open() && self.dir.leads_here().unwrap_or(true) && self.fifo.is_named().unwrap_or(true)
    }

    /// Removes the pipe, whose readers get no snapshot any more but an end of file.
    ///
    /// # Errors
    /// It has its name still, and that cannot be changed now. In a directory with the sticky bit, after a change of user, it
    /// never can: there it is left to be swept as dead, as in a directory that was moved away.
    pub(crate) fn vacate(&self) -> io::Result<()> {
        // Where the program closed our descriptors, their numbers may lead elsewhere.
        let removed = if self.fifo.is_held() { self.fifo.remove() } else { Ok(()) };
        self.fifo.free_stranded();
        removed.or_else(|err| match err.raw_os_error() {
            Some(libc::EPERM) => Ok(()),
            _ if self.is_intact() => Err(err),
            _ => Ok(()),
        })
    }
}

/// Makes the first pipe under a name whose byte we hold; `None` if the name is not for us.
fn first_fifo(dir: &Arc<PipeDir>, name: &OsStr, claim: &Claim) -> io::Result<Option<Fifo>> {
    // The second round comes after the removal of a dead pipe.
    for _ in 0..2 {
        match Fifo::create(dir, name) {
            Err(err) if err.kind() == ErrorKind::AlreadyExists => {}
            created => return created.map(Some),
        }
        if !remove_stale(dir, name, claim)? {
            return Ok(None);
        }
    }
    Ok(None)
}

/// Removes a pipe that a dead process of our pid left; `false` if what is there is none or is not ours to remove.
fn remove_stale(dir: &PipeDir, name: &OsStr, claim: &Claim) -> io::Result<bool> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let found = match openat(dir, name, flags, Mode::empty()) {
        Ok(found) => found,
        Err(nix::Error::ENOENT) => return Ok(true),
        Err(err) => return Err(err.into()),
    };
    let node = Node::of(&found)?;
    // In this order: whoever made this very pipe held the byte before, and still does if it is alive.
    if !node.is_fifo || claim.is_contested()? {
        return Ok(false);
    }
    match remove_judged(dir, name, node.id) {
        Err(err) if matches!(err.kind(), ErrorKind::PermissionDenied | ErrorKind::AlreadyExists) => Ok(false),
        removed => removed,
    }
}
