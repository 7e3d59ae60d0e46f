//! What goes wrong while a recorder runs: rests between attempts, and one line on standard error where it lasts.
//!
//! Owns the patience and the writing of such lines, which waits for nobody and cannot fail. It mends nothing. Called by
//! the recorder's threads.

use crate::error::Error;
use crate::stop::BackOff;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::write;
use std::io::stderr;
use std::os::fd::AsFd;
use std::process;
use std::time::{Duration, Instant};

/// What is mended within this time is not worth a line.
const PATIENCE: Duration = Duration::from_secs(1);

/// A time in which attempts fail, if there is one now.
#[derive(Debug)]
pub(crate) struct Trouble {
    longest_rest: Duration,
    now: Option<Now>,
}

#[derive(Debug)]
struct Now {
    since: Instant,
    back_off: BackOff,
    is_told: bool,
}

impl Trouble {
    pub(crate) fn new(longest_rest: Duration) -> Self {
        Self { longest_rest, now: None }
    }

    /// Notes that an attempt succeeded.
    pub(crate) fn is_over(&mut self) {
        self.now = None;
    }

    /// Notes that an attempt failed, tells of it once if that lasts, and returns how long to rest.
    pub(crate) fn rest_after(&mut self, err: &Error) -> Duration {
        let longest_rest = self.longest_rest;
        let now = self.now.get_or_insert_with(|| Now {
            since: Instant::now(),
            back_off: BackOff::up_to(longest_rest),
            is_told: false,
        });
        if !now.is_told && now.since.elapsed() >= PATIENCE {
            now.is_told = true;
            say(&format!("its stats cannot be read for now, and it goes on trying: {err:?}"));
        }
        now.back_off.rest()
    }
}

/// Writes one line to standard error, unless that would have to wait.
pub(crate) fn say(what: &str) {
    let line = format!("statvent: process {}: {what}\n", process::id());
    // Not through the standard library's lock, which a thread of the program may hold and wait.
    let stderr = stderr();
    let mut polled = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut polled, PollTimeout::ZERO) == Ok(1) {
        // No more than a pipe that has room at all is sure to take.
        let _ = write(stderr.as_fd(), &line.as_bytes()[..line.len().min(libc::PIPE_BUF)]);
    }
}
