//! Log lines on standard error.
//!
//! Writes without blocking and never fails. What to log, and when, is decided elsewhere.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::write;
use std::io::stderr;
use std::os::fd::AsFd;
use std::process;

/// Writes one line to standard error. Drops the line if the write would block.
pub(crate) fn log_line(message: &str) {
    let line = format!("statvent: process {}: {message}\n", process::id());
    // Bypasses the lock of the standard library: a thread of the program may hold it while it blocks.
    let stderr = stderr();
    let mut polled = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut polled, PollTimeout::ZERO) == Ok(1) {
        // A pipe that has room takes at least `PIPE_BUF` bytes.
        let _ = write(stderr.as_fd(), &line.as_bytes()[..line.len().min(libc::PIPE_BUF)]);
    }
}
