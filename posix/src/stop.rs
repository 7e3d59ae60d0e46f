//! The word to stop, which every waiting thread of a recorder hears at once.
//!
//! Owns the event descriptor and every wait with a time limit. It knows neither pipes nor threads. Set by the handle;
//! waited for by the recorder (between retries, and while a pipe is full) and by upkeep (between rounds, and for
//! `watch`).

use crate::fork::NotInherited;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Said once and for all.
#[derive(Debug)]
pub(crate) struct Stop {
    /// Relaxed: the word promises nothing about other memory.
    said: AtomicBool,
    /// Readable from then on, because nobody reads it.
    event: NotInherited<EventFd>,
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Woken {
    /// It was said to stop.
    Stopped,
    /// The descriptor takes or has bytes, or its other end left.
    Ready,
    /// The time is over.
    Late,
}

impl Stop {
    pub(crate) fn new() -> io::Result<Self> {
        let said = AtomicBool::new(false);
        let event =
            NotInherited::open(|| EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK))?;
        Ok(Self { said, event })
    }

    /// Says to stop.
    pub(crate) fn set(&self) {
        self.said.store(true, Ordering::Relaxed);
        // Refused only when it was said 2^64 - 2 times before.
        let _ = self.event.write(1);
    }

    /// Says whether to stop.
    pub(crate) fn is_set(&self) -> bool {
        self.said.load(Ordering::Relaxed)
    }

    /// Waits for the word, at most so long; says whether it came.
    pub(crate) fn wait(&self, at_most: Duration) -> bool {
        self.poll(None, Instant::now().checked_add(at_most)) == Woken::Stopped
    }

    /// Waits until a pipe takes bytes, until the time comes, or for the word.
    pub(crate) fn wait_writable(&self, pipe: BorrowedFd<'_>, until: Option<Instant>) -> Woken {
        self.poll(Some((pipe, PollFlags::POLLOUT)), until)
    }

    /// Waits until a descriptor has something to read, at most so long, or for the word.
    pub(crate) fn wait_readable(&self, descriptor: BorrowedFd<'_>, at_most: Duration) -> Woken {
        self.poll(Some((descriptor, PollFlags::POLLIN)), Instant::now().checked_add(at_most))
    }

    /// Polls; a moment too far away to be told is never.
    fn poll(&self, other: Option<(BorrowedFd<'_>, PollFlags)>, until: Option<Instant>) -> Woken {
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let event = PollFd::new(self.event.as_fd(), PollFlags::POLLIN);
            let (descriptor, wanted) = other.unwrap_or((self.event.as_fd(), PollFlags::empty()));
            let mut both = [event, PollFd::new(descriptor, wanted)];
            let polled = if other.is_some() { &mut both[..] } else { &mut both[..1] };
            let can_wait = match poll(polled, left.map(rounded_up)) {
                // Else the program closed the event, and its number may be another file's by now.
                Ok(_) => both[0].any() != Some(true),
                Err(nix::Error::EINTR) => true,
                // The program took all descriptors from itself (`RLIMIT_NOFILE`).
                Err(_) => false,
            };
            if self.is_set() {
                return Woken::Stopped;
            }
            if other.is_some() && both[1].any() == Some(true) {
                return Woken::Ready;
            }
            if left == Some(Duration::ZERO) {
                return Woken::Late;
            }
            if !can_wait {
                thread::park_timeout(BackOff::FIRST);
            }
        }
    }
}

/// In whole milliseconds, never too early, so that a short rest is not waited for in a busy loop.
fn rounded_up(left: Duration) -> PollTimeout {
    let millis = left.as_nanos().div_ceil(1_000_000);
    PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
}

/// How long to rest between attempts: doubles from 10 ms to 10 s, or to what was said to be the longest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BackOff {
    next: Duration,
    longest: Duration,
}

impl BackOff {
    const FIRST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_secs(10);

    pub(crate) const fn new() -> Self {
        Self { next: Self::FIRST, longest: Self::LONGEST }
    }

    /// Rests no longer than this: 10 ms at least, 10 s at most.
    pub(crate) fn up_to(longest: Duration) -> Self {
        Self { next: Self::FIRST, longest: longest.clamp(Self::FIRST, Self::LONGEST) }
    }

    /// Returns the rest to take now.
    pub(crate) fn rest(&mut self) -> Duration {
        let rest = self.next;
        self.next = (rest * 2).min(self.longest);
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_stays_said() {
        let stop = Stop::new().unwrap();
        assert!(!stop.is_set());
        stop.set();
        assert!(stop.is_set());
        assert!(stop.wait(Duration::MAX));
    }

    #[test]
    fn a_wait_is_not_shorter_than_asked() {
        let stop = Stop::new().unwrap();
        let begin = Instant::now();
        assert!(!stop.wait(Duration::from_micros(1500)));
        assert!(begin.elapsed() >= Duration::from_micros(1500));
    }

    #[test]
    fn a_full_pipe_wakes_when_its_reader_leaves() {
        let stop = Stop::new().unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let until = Instant::now().checked_add(Duration::from_secs(10));
        assert_eq!(stop.wait_writable(writer.as_fd(), until), Woken::Ready);
    }

    #[test]
    fn a_descriptor_with_bytes_wakes_before_the_time() {
        let stop = Stop::new().unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        assert_eq!(stop.wait_readable(reader.as_fd(), Duration::from_millis(2)), Woken::Late);
        std::io::Write::write_all(&mut writer, b"x").unwrap();
        assert_eq!(stop.wait_readable(reader.as_fd(), Duration::from_secs(10)), Woken::Ready);
    }

    #[test]
    fn rests_double_up_to_the_longest() {
        let mut back_off = BackOff::up_to(Duration::from_millis(50));
        let rests: Vec<_> = (0..5).map(|_| back_off.rest().as_millis()).collect();
        assert_eq!(rests, [10, 20, 40, 50, 50]);
    }

    #[test]
    fn rests_double_up_to_ten_seconds() {
        let mut back_off = BackOff::new();
        let rests: Vec<_> = (0..12).map(|_| back_off.rest().as_millis()).collect();
        assert_eq!(rests, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10_000, 10_000]);
    }
}
