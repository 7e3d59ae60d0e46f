//! Writes of one snapshot into one pipe, with a deadline.
//!
//! Owns the size of the pipe's buffer and partial writes. It neither opens nor closes pipes, and knows nothing of stats.

use crate::limits::SHUTDOWN_POLL_MILLIS;
use crate::sys::shutdown::ShutdownEvent;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Writes all of `text` to an open, empty pipe.
///
/// A text that fits into the pipe is written by one `write(2)`: one reader gets all of it, without waiting. The pipe is
/// enlarged for that if the system allows it. A larger text is written in chunks as the reader makes room. Sets `O_NONBLOCK`
/// on the descriptor.
///
/// # Errors
/// `TimedOut` if the reader was too slow, `BrokenPipe` if it closed the pipe, `Interrupted` at shutdown. Part of the text may
/// be written.
pub(crate) fn write_with_deadline(
    pipe: &File,
    text: &[u8],
    deadline: Duration,
    shutdown: &ShutdownEvent,
) -> io::Result<()> {
    // On overflow there is no deadline.
    let until = Instant::now().checked_add(deadline);
    enlarge(pipe, text.len());
    write_in_chunks(pipe, text, until, shutdown)
}

fn write_in_chunks(
    mut pipe: &File,
    mut text: &[u8],
    until: Option<Instant>,
    shutdown: &ShutdownEvent,
) -> io::Result<()> {
    fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    loop {
        match pipe.write(text) {
            Ok(n) => text = &text[n..],
            Err(err) if matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(err) => return Err(err),
        }
        if text.is_empty() {
            return Ok(());
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return Err(ErrorKind::TimedOut.into());
        }
        let mut polled = [PollFd::new(pipe.as_fd(), PollFlags::POLLOUT)];
        // poll(2) fails if the program set RLIMIT_NOFILE to 0: then only wait.
        let poll_failed = poll(&mut polled, PollTimeout::from(SHUTDOWN_POLL_MILLIS)).is_err();
        if shutdown.is_signalled()
            || poll_failed && shutdown.wait(Duration::from_millis(SHUTDOWN_POLL_MILLIS.into()))
        {
            return Err(ErrorKind::Interrupted.into());
        }
    }
}

/// Enlarges a pipe to hold `n_bytes`. If the system refuses, its size stays.
fn enlarge(pipe: &File, n_bytes: usize) {
    let Ok(wanted) = libc::c_int::try_from(n_bytes) else { return };
    let capacity = fcntl(pipe, FcntlArg::F_GETPIPE_SZ).unwrap_or(0);
    if wanted > capacity {
        let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(wanted));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{PipeReader, Read, pipe};
    use std::os::fd::OwnedFd;
    use std::thread;

    /// More than a pipe holds that was not enlarged.
    const HUGE: usize = 8 << 20;
    const LONG: Duration = Duration::from_secs(60);

    fn both_ends() -> (PipeReader, File) {
        let (reader, writer) = pipe().unwrap();
        (reader, File::from(OwnedFd::from(writer)))
    }

    #[test]
    fn a_text_that_fits_does_not_wait_for_its_reader() {
        let (mut reader, writer) = both_ends();
        let text = vec![b'x'; 300_000];
        write_with_deadline(&writer, &text, LONG, &ShutdownEvent::default()).unwrap();
        drop(writer);
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert!(read == text);
    }

    #[test]
    fn a_text_larger_than_the_pipe_arrives_whole() {
        let (mut reader, writer) = both_ends();
        let text: Vec<u8> = (0..HUGE).map(|idx| (idx % 251) as u8).collect();
        fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
        let reading = thread::spawn(move || {
            let mut read = Vec::new();
            reader.read_to_end(&mut read).unwrap();
            read
        });
        write_in_chunks(&writer, &text, Instant::now().checked_add(LONG), &ShutdownEvent::default()).unwrap();
        drop(writer);
        assert!(reading.join().unwrap() == text);
    }

    #[test]
    fn a_reader_that_does_not_read_is_abandoned_after_the_deadline() {
        let (_reader, writer) = both_ends();
        let begin = Instant::now();
        let deadline = Duration::from_millis(50);
        let until = begin.checked_add(deadline);
        let err = write_in_chunks(&writer, &vec![0; HUGE], until, &ShutdownEvent::default()).unwrap_err();
        assert_eq!(err.kind(), ErrorKind::TimedOut);
        assert!(begin.elapsed() >= deadline);
    }

    #[test]
    fn shutdown_ends_a_write_at_once() {
        let (_reader, writer) = both_ends();
        let shutdown = ShutdownEvent::default();
        shutdown.signal();
        let until = Instant::now().checked_add(LONG);
        let err = write_in_chunks(&writer, &vec![0; HUGE], until, &shutdown).unwrap_err();
        assert_eq!(err.kind(), ErrorKind::Interrupted);
    }
}
