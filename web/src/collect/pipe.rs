//! One open pipe: opened without following links, locked, and read to its end.
//!
//! Owns the order open, lock, read, and the meaning of an end of file. It must not decide whether a process is dead (see
//! `liveness`) or when to give up: `read` never waits, and `wait` returns as soon as another `read` may succeed.

use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::mem::take;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use futures_util::FutureExt as _;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::read;
use statvent_posix::stat::{FileId, FileStat};
use tokio::io::Interest;
use tokio::net::unix::pipe::Receiver;
use tokio::time::{sleep, timeout};

use super::directory::FilteredDir;
use super::error::{PipeError, ProbeError, is_resource_exhaustion};
use super::quota::Charge;
use super::snapshot::{ProcessSnapshot, SnapshotBuilder};
use crate::limits::{FIRST_READ_PAUSE, MAX_LOCKED_PAUSE, MAX_NO_WRITER_PAUSE};

/// How far a pipe was read.
pub(super) enum Progress {
    /// Nothing more to read at the moment.
    Pending,
    /// The writer closed the pipe after it had written.
    Complete(ProcessSnapshot),
    /// The pipe was replaced or removed before a byte arrived: open the name again.
    Retired {
        /// This service held its lock before that, so no other reader can have received a snapshot from it.
        was_flocked: bool,
    },
}

/// An open pipe.
pub(super) struct Pipe {
    receiver: Receiver,
    id: FileId,
    lock: LockState,
    /// What was written so far.
    pub(super) builder: SnapshotBuilder,
    has_writer: bool,
    /// The last read returned nothing, and the runtime still reports the pipe as readable, as after a writer has closed it.
    /// Waiting for readiness would return at once.
    readiness_is_outdated: bool,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum LockState {
    /// Not locked yet, or locked by another reader.
    None,
    /// Unlocked between two scrapes, so that others can check the pipe; locked again before it is read.
    Released,
    /// Locked while the pipe still had its name.
    Held,
    /// Locked after the pipe had lost its name.
    HeldAfterUnlink,
}

impl Pipe {
    /// Opens a pipe of an allowed owner; refuses links, files, sockets and devices. Needs a tokio runtime with I/O.
    pub(super) fn open(dir: &FilteredDir, name: &OsStr, charge: Charge) -> Result<Box<Self>, ProbeError> {
        let is_allowed = |node: &FileStat| node.is_fifo && dir.allows(node);
        match dir.pipe_dir.stat(name)? {
            Some(node) if is_allowed(&node) => {}
            Some(_) => return Err(ProbeError::NotAFifo),
            None => return Err(ProbeError::NotFound),
        }
        // No `O_CREAT`: `fs.protected_fifos` would refuse it.
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let receiver = openat(&dir.pipe_dir, name, flags, Mode::empty()).map_err(io::Error::from)?;
        let node = FileStat::of_fd(&receiver)?;
        if !is_allowed(&node) {
            return Err(ProbeError::NotAFifo);
        }
        Ok(Box::new(Self {
            receiver: Receiver::from_owned_fd_unchecked(receiver)?,
            id: node.id,
            lock: LockState::None,
            builder: SnapshotBuilder::within(charge),
            has_writer: false,
            readiness_is_outdated: false,
        }))
    }

    /// Reads what is there, without waiting; `chunk` is the buffer.
    ///
    /// Cost: at most [`MAX_BYTES_PER_PROCESS`](crate::limits::MAX_BYTES_PER_PROCESS) and one chunk are read in all calls together.
    pub(super) fn read(&mut self, chunk: &mut [u8]) -> Result<Progress, PipeError> {
        if !self.lock()? {
            return Ok(Progress::Pending);
        }
        loop {
            // `try_read` relies on events and misses bytes that came a moment ago. `read` sees them. After `EAGAIN`,
            // `try_read` makes the runtime forget its event.
            let bytes = match read(&self.receiver, chunk) {
                Err(nix::Error::EAGAIN) => self.receiver.try_read(chunk),
                bytes => bytes.map_err(io::Error::from),
            };
            match bytes {
                Ok(0) => return Ok(self.on_eof()?),
                Ok(n_bytes) => {
                    self.has_writer = true;
                    self.builder.feed(&chunk[..n_bytes]).map_err(PipeError::TooLarge)?;
                }
                Err(err) if err.kind() == ErrorKind::WouldBlock => {
                    self.has_writer = true;
                    self.readiness_is_outdated = self.still_reports_ready();
                    return Ok(Progress::Pending);
                }
                Err(err) if err.kind() == ErrorKind::Interrupted => {}
                Err(err) => return Err(err.into()),
            }
        }
    }

    /// Waits until another `read` may succeed. No event reports the removal of a pipe without a writer, or that another
    /// reader released the lock: both are polled, and `pause` doubles from wait to wait.
    pub(super) async fn wait(&mut self, pause: &mut Duration) {
        if self.has_writer {
            *pause = FIRST_READ_PAUSE;
        }
        if !self.can_await_readiness() {
            sleep(*pause).await;
        } else if self.has_writer {
            self.readable().await;
        } else {
            let _ = timeout(*pause, self.readable()).await;
        }
        let max = if self.lock == LockState::None { MAX_LOCKED_PAUSE } else { MAX_NO_WRITER_PAUSE };
        *pause = (*pause * 2).min(max);
    }

    /// Waits until the runtime reports the pipe as readable.
    pub(super) async fn readable(&self) {
        let _ = self.receiver.readable().await;
    }

    /// Returns whether [`readable`](Self::readable) waits for something that a `read` can use.
    pub(super) fn can_await_readiness(&self) -> bool {
        self.lock != LockState::None && !self.readiness_is_outdated
    }

    /// Returns the identity of the file.
    pub(super) const fn id(&self) -> FileId {
        self.id
    }

    /// Returns whether the pipe had a writer at the last read.
    pub(super) const fn has_writer(&self) -> bool {
        self.has_writer
    }

    /// Returns whether a snapshot has begun and not ended.
    pub(super) const fn has_data(&self) -> bool {
        !self.builder.is_empty()
    }

    /// Returns whether the pipe has neither writer nor data. `false` without the lock: another reader may be connected to the
    /// writer, which is not visible here then.
    pub(super) fn is_unused(&self) -> bool {
        matches!(self.lock, LockState::Held | LockState::HeldAfterUnlink)
            && !self.has_writer
            && !self.has_data()
    }

    /// Releases the lock of a pipe without a writer: between two scrapes, other services may need it to prove that the
    /// process is dead.
    pub(super) fn release_lock(&mut self) {
        if self.is_unused() && self.as_file().and_then(|file| file.unlock()).is_ok() {
            self.lock = LockState::Released;
        }
    }

    /// Returns whether the pipe has lost its name.
    pub(super) fn is_retired(&self) -> io::Result<bool> {
        Ok(FileStat::of_fd(&self.receiver)?.n_links == 0)
    }

    /// Locks the pipe, so that no two readers share one snapshot; `false` if another reader holds the lock.
    fn lock(&mut self) -> io::Result<bool> {
        if matches!(self.lock, LockState::None | LockState::Released) {
            self.lock = LockState::None;
            match self.as_file().map_err(TryLockError::Error).and_then(|file| file.try_lock()) {
                Ok(()) => {
                    self.lock = if self.is_retired()? { LockState::HeldAfterUnlink } else { LockState::Held }
                }
                Err(TryLockError::WouldBlock) => return Ok(false),
                Err(TryLockError::Error(err)) if is_resource_exhaustion(&err) => return Ok(false),
                Err(TryLockError::Error(err)) => return Err(err),
            }
        }
        Ok(true)
    }

    /// A second descriptor for calls that need a `File`. It shares the lock, and closing it does not release that.
    fn as_file(&self) -> io::Result<File> {
        Ok(self.receiver.as_fd().try_clone_to_owned()?.into())
    }

    /// Handles a read of 0 bytes: the end of the snapshot if it had begun; otherwise the pipe has no writer yet.
    fn on_eof(&mut self) -> io::Result<Progress> {
        self.has_writer = false;
        Ok(if self.has_data() {
            Progress::Complete(take(&mut self.builder).finish())
        } else if self.is_retired()? {
            Progress::Retired { was_flocked: self.lock == LockState::Held }
        } else {
            self.readiness_is_outdated = self.still_reports_ready();
            Progress::Pending
        })
    }

    /// Returns whether the runtime still reports the pipe as readable after a read that returned nothing.
    fn still_reports_ready(&self) -> bool {
        self.receiver.ready(Interest::READABLE).now_or_never().is_some()
    }
}

impl AsFd for Pipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::mkfifo;
    use std::fs::OpenOptions;
    use std::io::{Read as _, Write as _};

    // 1. The runtime sees bytes in the pipe.
    // 2. Another reader takes them, and the writer closes the pipe.
    // 3. The runtime still reports the pipe as readable.
    #[test]
    fn readiness_for_bytes_that_another_reader_took_is_not_awaited_again() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("1.stats");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let dir = FilteredDir::open(temp.path(), &[]).unwrap().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut pipe = Pipe::open(&dir, "1.stats".as_ref(), Charge::default()).unwrap();
            assert!(matches!(pipe.read(&mut [0; 9]), Ok(Progress::Pending)));
            let mut other = OpenOptions::new().read(true).write(true).open(&path).unwrap();
            other.write_all(b"x").unwrap();
            pipe.readable().await;
            other.read_exact(&mut [0]).unwrap();
            drop(other);
            assert!(matches!(pipe.read(&mut [0; 9]), Ok(Progress::Pending)));
            assert!(!pipe.can_await_readiness());
        });
    }
}
