//! Listens to late processes between two collections.
//!
//! Owns one wait for all of them. It asks nobody and judges nobody (see `process`). Called by the collector.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::process::Process;

/// Whether polling its pipe tells when it says something.
pub(super) fn is_worth_polling(process: &Process) -> bool {
    process.open.as_ref().is_some_and(|open| open.is_worth_polling())
}

/// Waits for one of the pipes and gives each that is readable a turn; `false` once `wake` is readable.
///
/// Once those have taken the room that there is, the others wait for their turn until there is more.
pub(super) fn wait(
    wake: BorrowedFd<'_>,
    processes: &mut [&mut Process],
    chunk: &mut [u8],
    room_bytes: usize,
) -> io::Result<bool> {
    let mut polled = vec![PollFd::new(wake, PollFlags::POLLIN)];
    let open = processes.iter().filter_map(|process| process.open.as_ref());
    polled.extend(open.map(|open| PollFd::new(open.as_fd(), PollFlags::POLLIN)));
    match poll(&mut polled, PollTimeout::NONE) {
        Ok(_) | Err(nix::Error::EINTR) => {}
        Err(err) => return Err(err.into()),
    }
    let ready: Vec<bool> =
        polled.iter().map(|polled| polled.revents().is_some_and(|events| !events.is_empty())).collect();
    drop(polled);
    if ready[0] {
        return Ok(false);
    }
    let now = Instant::now();
    let mut n_bytes_taken = 0;
    for (process, _) in processes.iter_mut().zip(&ready[1..]).filter(|(_, ready)| **ready) {
        if let Some(open) = &mut process.open {
            let n_bytes_before = open.n_bytes();
            let step = open.advance(now, chunk);
            n_bytes_taken += open.n_bytes().saturating_sub(n_bytes_before);
            process.take_step(step);
        }
        if n_bytes_taken > room_bytes {
            break;
        }
    }
    Ok(true)
}
