//! One pipe, from opened to read.
//!
//! Owns the order open, lock, read, and what an end means. It must not judge who is dead (see `life`) nor decide how
//! long to wait: `read` never waits, `wait` waits for whatever makes another `read` worth while.

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
use statvent_posix::node::{FileId, Node};
use tokio::io::Interest;
use tokio::net::unix::pipe::Receiver;
use tokio::time::{sleep, timeout};

use super::directory::FilteredDir;
use super::error::{PipeError, is_resource_exhaustion};
use super::quota::Charge;
use super::snapshot::{ProcessSnapshot, SnapshotBuilder};

/// The bytes read at a time, and the memory for them: the largest pipe of an ordinary user, so that what was written in
/// one piece is read in one, and a reader that does not lock gets all of it or nothing.
pub(super) const CHUNK_BYTES: usize = 1 << 20;

/// The first wait for a writer or another reader: the shortest time of tokio's clock.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// While another reader has the pipe, which takes it a moment.
const LONGEST_BUSY_PAUSE: Duration = Duration::from_millis(2);
/// While nothing writes. A writer that comes ends the pause; the removal of the pipe does not.
const LONGEST_QUIET_PAUSE: Duration = Duration::from_millis(32);

/// Why there is no pipe, or no snapshot from it.
#[derive(Debug)]
pub(super) enum ProbeError {
    /// Nothing has the name.
    NotFound,
    /// Something other than a pipe has it, or a pipe whose owner is not allowed.
    NotAFifo,
    /// The pipe cannot be opened or read.
    Pipe(PipeError),
    /// The system has no descriptor or no memory for us at the moment.
    ResourceExhausted,
    /// The process did not answer in the time it had.
    TimedOut,
}

/// How far a pipe was read.
pub(super) enum Progress {
    /// There is nothing more to read at the moment.
    Pending,
    /// The process said everything.
    Complete(ProcessSnapshot),
    /// The pipe was replaced or removed before it said anything: open the name again.
    Retired {
        /// We had it to ourselves before that, so no other reader can have got what it said.
        was_locked: bool,
    },
}

/// An open pipe.
pub(super) struct Pipe {
    receiver: Receiver,
    id: FileId,
    lock: Lock,
    /// What was said so far.
    pub(super) builder: SnapshotBuilder,
    has_writer: bool,
    /// The last read brought nothing, and the runtime goes on to report an event: its events tell nothing, as after a writer
    /// has left.
    readiness_is_stale: bool,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Lock {
    /// Not ours: not taken yet, or another reader has it.
    None,
    /// Given back while nothing writes, so that others can judge the pipe; taken again before it is read.
    Released,
    /// Taken while the pipe still had its name.
    Held,
    /// Taken when the pipe was retired already.
    HeldAfterUnlink,
}

impl Pipe {
    /// Opens the pipe of that name, and nothing but a pipe of an allowed owner: no link, file, socket or device. Needs a
    /// tokio runtime with I/O.
    pub(super) fn open(source: &FilteredDir, name: &OsStr, charge: Charge) -> Result<Box<Self>, ProbeError> {
        let is_allowed = |node: &Node| node.is_fifo && source.allows(node);
        match source.dir.node(name)? {
            Some(node) if is_allowed(&node) => {}
            Some(_) => return Err(ProbeError::NotAFifo),
            None => return Err(ProbeError::NotFound),
        }
        // Without `O_CREAT`, which `fs.protected_fifos` would refuse.
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let receiver = openat(&source.dir, name, flags, Mode::empty()).map_err(io::Error::from)?;
        let node = Node::of(&receiver)?;
        if !is_allowed(&node) {
            return Err(ProbeError::NotAFifo);
        }
        Ok(Box::new(Self {
            receiver: Receiver::from_owned_fd_unchecked(receiver)?,
            id: node.id,
            lock: Lock::None,
            builder: SnapshotBuilder::within(charge),
            has_writer: false,
            readiness_is_stale: false,
        }))
    }

    /// Reads what there is, without waiting. `chunk` is memory to read into.
    ///
    /// Costs no more than the most that one process may say.
    pub(super) fn read(&mut self, chunk: &mut [u8]) -> Result<Progress, PipeError> {
        if !self.lock()? {
            return Ok(Progress::Pending);
        }
        loop {
            // `try_read` would not see what came a moment ago, but it lets the runtime know that there is nothing.
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
                    self.readiness_is_stale = self.still_reports_ready();
                    return Ok(Progress::Pending);
                }
                Err(err) if err.kind() == ErrorKind::Interrupted => {}
                Err(err) => return Err(err.into()),
            }
        }
    }

    /// Waits until there may be more to read. `pause` grows from wait to wait: without a writer no event tells of the
    /// pipe's removal, and none tells when another reader gives the lock back.
    pub(super) async fn wait(&mut self, pause: &mut Duration) {
        if self.has_writer {
            *pause = FIRST_PAUSE;
        }
        if !self.can_await_readiness() {
            sleep(*pause).await;
        } else if self.has_writer {
            self.readable().await;
        } else {
            // Nothing came: look again.
            let _ = timeout(*pause, self.readable()).await;
        }
        let longest = if self.lock == Lock::None { LONGEST_BUSY_PAUSE } else { LONGEST_QUIET_PAUSE };
        *pause = (*pause * 2).min(longest);
    }

    /// Waits until something happens to the pipe.
    pub(super) async fn readable(&self) {
        let _ = self.receiver.readable().await;
    }

    /// Whether an event of the pipe means that there may be something to read for us.
    pub(super) fn can_await_readiness(&self) -> bool {
        self.lock != Lock::None && !self.readiness_is_stale
    }

    /// Which pipe it is.
    pub(super) const fn id(&self) -> FileId {
        self.id
    }

    /// Whether a writer was there at the last read.
    pub(super) const fn has_writer(&self) -> bool {
        self.has_writer
    }

    /// Whether something was said, and not all.
    pub(super) const fn has_data(&self) -> bool {
        !self.builder.is_empty()
    }

    /// Whether nothing writes and nothing was said, seen while we had it to ourselves: else it is no evidence, because
    /// another reader may have it, and the writer with it.
    pub(super) fn has_no_writer(&self) -> bool {
        matches!(self.lock, Lock::Held | Lock::HeldAfterUnlink) && !self.has_writer && !self.has_data()
    }

    /// Gives the lock back where nothing writes: between two collections others may have to see that its process is
    /// dead.
    pub(super) fn release_lock(&mut self) {
        if self.has_no_writer() && self.as_file().and_then(|file| file.unlock()).is_ok() {
            self.lock = Lock::Released;
        }
    }

    /// Whether nothing has its name any more.
    pub(super) fn is_retired(&self) -> io::Result<bool> {
        Ok(Node::of(&self.receiver)?.n_links == 0)
    }

    /// Locks the pipe against other readers, which would each get a part of what it says; `false` if it is taken.
    fn lock(&mut self) -> io::Result<bool> {
        if matches!(self.lock, Lock::None | Lock::Released) {
            self.lock = Lock::None;
            match self.as_file().map_err(TryLockError::Error).and_then(|file| file.try_lock()) {
                Ok(()) => self.lock = if self.is_retired()? { Lock::HeldAfterUnlink } else { Lock::Held },
                Err(TryLockError::WouldBlock) => return Ok(false),
                Err(TryLockError::Error(err)) if is_resource_exhaustion(&err) => return Ok(false),
                Err(TryLockError::Error(err)) => return Err(err),
            }
        }
        Ok(true)
    }

    /// A second descriptor for the calls that want a file. It shares the lock, and may be closed.
    fn as_file(&self) -> io::Result<File> {
        Ok(self.receiver.as_fd().try_clone_to_owned()?.into())
    }

    /// Nothing writes now: an end only if something was said before.
    fn on_eof(&mut self) -> io::Result<Progress> {
        self.has_writer = false;
        Ok(if self.has_data() {
            Progress::Complete(take(&mut self.builder).finish())
        } else if self.is_retired()? {
            Progress::Retired { was_locked: self.lock == Lock::Held }
        } else {
            self.readiness_is_stale = self.still_reports_ready();
            Progress::Pending
        })
    }

    /// Whether the runtime goes on to report an event that brought nothing.
    fn still_reports_ready(&self) -> bool {
        self.receiver.ready(Interest::READABLE).now_or_never().is_some()
    }
}

impl AsFd for Pipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }
}

impl From<io::Error> for ProbeError {
    fn from(err: io::Error) -> Self {
        match err.raw_os_error().map(nix::Error::from_raw) {
            Some(nix::Error::ENOENT) => Self::NotFound,
            // A link or a socket.
            Some(nix::Error::ELOOP | nix::Error::ENXIO) => Self::NotAFifo,
            _ if is_resource_exhaustion(&err) => Self::ResourceExhausted,
            _ => Self::Pipe(err.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::mkfifo;
    use std::fs::OpenOptions;
    use std::io::{Read as _, Write as _};

    // 1. The runtime sees bytes in the pipe. 2. Another reader takes them, and the writer leaves. 3. The runtime goes on to
    // report those bytes.
    #[test]
    fn an_event_that_another_reader_has_used_up_is_not_waited_for_again() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("1.stats");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let source = FilteredDir::open(temp.path(), &[]).unwrap().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut pipe = Pipe::open(&source, "1.stats".as_ref(), Charge::default()).unwrap();
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
