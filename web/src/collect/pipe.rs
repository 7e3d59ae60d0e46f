//! One pipe, from opened to read: a small state machine that never waits.
//!
//! Owns the order lock, read, believe. It says what it waits for and leaves the waiting to others; it must not judge
//! who is dead (see `life`). Called by `scrape`, which waits for many, and by the collector for pipes that stay open.

use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read as _};
use std::mem::take;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};
use std::{fmt, io};

use nix::fcntl::{OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use statvent_posix::node::{FileId, Node};

use super::admission::{MAX_NAME_BYTES, MAX_NAMES};
use super::discover::Source;
use super::reading::{Reading, ReadingBuilder, ReadingError};

/// The bytes read at a time, and the memory for them: the largest pipe of an ordinary user, so that what was written in
/// one piece is read in one, and a reader that does not lock gets all of it or nothing.
pub(super) const CHUNK_BYTES: usize = 1 << 20;

/// A pipe that has more gives the others their turn after so many chunks.
const CHUNKS_A_TURN: usize = 16;

const FIRST_PAUSE: Duration = Duration::from_micros(50);
/// While another reader has the pipe, which takes it a moment.
const LONGEST_BUSY_PAUSE: Duration = Duration::from_millis(2);
/// While nobody writes; a writer that comes ends the pause, the removal of the pipe does not.
const LONGEST_QUIET_PAUSE: Duration = Duration::from_millis(16);

/// Why a pipe could not be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum PipeError {
    /// The system refuses to open, lock or read it.
    System(io::Error),
    /// Its process says more than one may.
    TooMuch(ReadingError),
    /// All processes together say more than fits.
    TooMuchInAll {
        /// The limit that was passed.
        limit_bytes: usize,
    },
    /// All processes together have more stats of different names than fit in an answer.
    TooManyNames,
}

impl fmt::Display for PipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(err) if err.kind() == ErrorKind::PermissionDenied => {
                f.write_str("the pipe cannot be read: let its owner make it readable for this service's user")
            }
            Self::System(_) => {
                f.write_str("the pipe cannot be opened, locked or read: see what the system answers")
            }
            Self::TooMuch(_) => f.write_str("the pipe was left unread: its process says too much"),
            Self::TooMuchInAll { limit_bytes } => write!(
                f,
                "all pipes together hold more than {limit_bytes} bytes of stats, and this one most of it: publish fewer"
            ),
            Self::TooManyNames => write!(
                f,
                "all pipes together hold more than {MAX_NAMES} names, or {MAX_NAME_BYTES} bytes of names and digits, and \
                 this one most of them: publish fewer"
            ),
        }
    }
}

impl core::error::Error for PipeError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::System(err) => Some(err),
            Self::TooMuch(err) => Some(err),
            Self::TooMuchInAll { .. } | Self::TooManyNames => None,
        }
    }
}

/// What came of opening a name.
pub(super) enum Opening {
    /// A pipe.
    Pipe(Box<Pipe>),
    /// Nothing has the name.
    Missing,
    /// Something else than a pipe has it, or one whose owner is not allowed.
    Foreign,
    /// A pipe has it that is not for us.
    Refused(PipeError),
    /// The system has no descriptor, or no memory, for us at the moment.
    NotNow,
}

/// Whether the system fails for want of something that others may give back at any time.
pub(super) fn is_shortage(err: &io::Error) -> bool {
    let shortages = [nix::Error::EMFILE, nix::Error::ENFILE, nix::Error::ENOMEM, nix::Error::EINTR];
    shortages.iter().any(|shortage| err.raw_os_error() == Some(*shortage as i32))
}

/// What came of a turn.
pub(super) enum Step {
    /// Not finished: come again when the descriptor is readable, if it is worth polling, or at its time to retry.
    Wait,
    /// The process said everything.
    Finished(Reading),
    /// The pipe was replaced or removed before it said anything: open the name again.
    Retired {
        /// We had it to ourselves before that, so that nobody else can have got what it said.
        was_ours: bool,
    },
    /// It cannot be read.
    Failed(PipeError),
}

/// An open pipe.
pub(super) struct Pipe {
    file: File,
    id: FileId,
    lock: Lock,
    heard: ReadingBuilder,
    has_writer: bool,
    /// The last writer left; polling would report that over and over.
    hung_up: bool,
    pause: Duration,
    retry_at: Option<Instant>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Lock {
    None,
    /// Given back, while nobody writes, for others to judge the pipe; to be taken again before it is read.
    Loose,
    /// Taken while the pipe still had its name.
    InTime,
    /// Taken when the pipe was retired already.
    TooLate,
}

impl Pipe {
    /// Opens the pipe of that name, and nothing that is not a pipe of an allowed owner: neither link, file, socket nor
    /// device.
    pub(super) fn open(source: &Source, name: &OsStr) -> Opening {
        let is_ours = |node: &Node| node.is_fifo && source.allows(node);
        match source.dir.node(name) {
            Ok(Some(node)) if is_ours(&node) => {}
            Ok(Some(_)) => return Opening::Foreign,
            Ok(None) => return Opening::Missing,
            Err(err) if is_shortage(&err) => return Opening::NotNow,
            Err(err) => return Opening::Refused(PipeError::System(err)),
        }
        // Without `O_CREAT`, which `fs.protected_fifos` would refuse.
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = match openat(&source.dir, name, flags, Mode::empty()) {
            Ok(descriptor) => File::from(descriptor),
            Err(nix::Error::ENOENT) => return Opening::Missing,
            // A link or a socket that took the name since.
            Err(nix::Error::ELOOP | nix::Error::ENXIO) => return Opening::Foreign,
            Err(err) if is_shortage(&err.into()) => return Opening::NotNow,
            Err(err) => return Opening::Refused(PipeError::System(err.into())),
        };
        match Node::of(&file) {
            Ok(node) if is_ours(&node) => Opening::Pipe(Box::new(Self::new(file, node.id))),
            Ok(_) => Opening::Foreign,
            Err(err) => Opening::Refused(PipeError::System(err)),
        }
    }

    fn new(file: File, id: FileId) -> Self {
        Self {
            file,
            id,
            lock: Lock::None,
            heard: ReadingBuilder::new(),
            has_writer: false,
            hung_up: false,
            pause: FIRST_PAUSE,
            retry_at: None,
        }
    }

    /// Goes as far as it can without waiting. `chunk` is memory to read into.
    pub(super) fn advance(&mut self, now: Instant, chunk: &mut [u8]) -> Step {
        self.retry_at = None;
        self.hung_up = false;
        let step = match self.take_lock() {
            Ok(true) => self.read(now, chunk),
            Ok(false) => Ok(self.pause(now, LONGEST_BUSY_PAUSE)),
            Err(err) => Err(err),
        };
        step.unwrap_or_else(|err| Step::Failed(PipeError::System(err)))
    }

    /// Which pipe it is.
    pub(super) const fn id(&self) -> FileId {
        self.id
    }

    /// When to come again though the descriptor is not readable.
    pub(super) const fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Whether polling the descriptor tells when to come again.
    pub(super) fn is_worth_polling(&self) -> bool {
        self.lock != Lock::None && !self.hung_up
    }

    /// Whether a writer was there at the last turn.
    pub(super) const fn has_writer(&self) -> bool {
        self.has_writer
    }

    /// Whether something was said, and not all.
    pub(super) fn has_begun(&self) -> bool {
        !self.heard.is_empty()
    }

    /// Whether nobody writes and nothing was said, seen while we had it to ourselves: else it is no evidence, because
    /// another reader may have it, and the writer with it.
    pub(super) fn is_quiet(&self) -> bool {
        matches!(self.lock, Lock::InTime | Lock::TooLate) && !self.has_writer && self.heard.is_empty()
    }

    /// Gives the lock back where nobody writes: while we rest, others may have to see that its process is dead.
    pub(super) fn loosen(&mut self) {
        if self.is_quiet() && self.file.unlock().is_ok() {
            self.lock = Lock::Loose;
        }
    }

    /// The memory that what was heard takes, in bytes.
    pub(super) fn n_bytes(&self) -> usize {
        self.heard.n_bytes()
    }

    /// Locks the pipe against other readers, which would each get a part of what it says; `false` if it is taken.
    fn take_lock(&mut self) -> io::Result<bool> {
        if matches!(self.lock, Lock::None | Lock::Loose) {
            // Where another reader has taken it, waking up at what that one reads would be in vain.
            self.lock = Lock::None;
            match self.file.try_lock() {
                Ok(()) => self.lock = if self.is_retired()? { Lock::TooLate } else { Lock::InTime },
                Err(TryLockError::WouldBlock) => return Ok(false),
                Err(TryLockError::Error(err)) => return Err(err),
            }
            self.pause = FIRST_PAUSE;
        }
        Ok(true)
    }

    fn read(&mut self, now: Instant, chunk: &mut [u8]) -> io::Result<Step> {
        for _ in 0..CHUNKS_A_TURN {
            match self.file.read(chunk) {
                Ok(0) => return self.stop(now),
                Ok(n_bytes) => {
                    self.has_writer = true;
                    if let Err(err) = self.heard.feed(&chunk[..n_bytes]) {
                        return Ok(Step::Failed(PipeError::TooMuch(err)));
                    }
                }
                Err(err) if err.kind() == ErrorKind::WouldBlock => {
                    self.has_writer = true;
                    return Ok(Step::Wait);
                }
                Err(err) if err.kind() == ErrorKind::Interrupted => {}
                Err(err) => return Err(err),
            }
        }
        Ok(Step::Wait)
    }

    /// Nobody writes now: an end only if something was said before.
    fn stop(&mut self, now: Instant) -> io::Result<Step> {
        self.has_writer = false;
        if !self.heard.is_empty() {
            return Ok(Step::Finished(take(&mut self.heard).finish()));
        }
        if self.is_retired()? {
            return Ok(Step::Retired { was_ours: self.lock == Lock::InTime });
        }
        self.hung_up = self.has_hung_up()?;
        Ok(self.pause(now, LONGEST_QUIET_PAUSE))
    }

    fn has_hung_up(&self) -> nix::Result<bool> {
        let mut polled = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
        poll(&mut polled, PollTimeout::ZERO)?;
        Ok(polled[0].revents().is_some_and(|events| events == PollFlags::POLLHUP))
    }

    /// Whether nothing has its name any more.
    pub(super) fn is_retired(&self) -> io::Result<bool> {
        Ok(Node::of(&self.file)?.n_links == 0)
    }

    fn pause(&mut self, now: Instant, longest: Duration) -> Step {
        self.retry_at = Some(now + self.pause);
        self.pause = (self.pause * 2).min(longest);
        Step::Wait
    }
}

impl AsFd for Pipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_was_found_and_what_to_do() {
        let cases = [
            (
                PipeError::System(ErrorKind::PermissionDenied.into()),
                "the pipe cannot be read: let its owner make it readable for this service's user",
            ),
            (
                PipeError::System(ErrorKind::OutOfMemory.into()),
                "the pipe cannot be opened, locked or read: see what the system answers",
            ),
            (
                PipeError::TooMuch(ReadingError::TooManyBytes),
                "the pipe was left unread: its process says too much",
            ),
            (
                PipeError::TooMuchInAll { limit_bytes: 7 },
                "all pipes together hold more than 7 bytes of stats, and this one most of it: publish fewer",
            ),
            (
                PipeError::TooManyNames,
                "all pipes together hold more than 65536 names, or 8388608 bytes of names and digits, and this one \
                 most of them: publish fewer",
            ),
        ];
        for (err, message) in cases {
            assert_eq!(err.to_string(), message);
        }
    }
}
