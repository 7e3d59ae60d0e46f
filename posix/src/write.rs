//! One snapshot into one pipe: in one piece where it fits, within a deadline where it does not.
//!
//! Owns the size of the pipe's buffer and the partial writes. It neither opens nor closes pipes (see `fifo`), and knows
//! nothing of stats. Called by the recorder.

use crate::stop::Stop;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How often a write that waits for its reader looks whether it is to stop: too short to be noticed at the end of a process.
const LOOK_MILLIS: u8 = 20;

/// Writes all of `text` to an open, empty pipe.
///
/// A text that fits the pipe is written by one `write(2)`, so that one reader gets all of it, and at once. The pipe is
/// enlarged for it where the system allows; else the text goes piece by piece as the reader makes room. Sets
/// `O_NONBLOCK` on the descriptor.
///
/// # Errors
/// `TimedOut` when the reader was too slow, `BrokenPipe` when it left, `Interrupted` when it is to stop; part of
/// the text may be written.
pub(crate) fn write_within(pipe: &File, text: &[u8], deadline: Duration, stop: &Stop) -> io::Result<()> {
    // A deadline too far away to be told is none.
    let until = Instant::now().checked_add(deadline);
    enlarge(pipe, text.len());
    write_in_pieces(pipe, text, until, stop)
}

fn write_in_pieces(mut pipe: &File, mut text: &[u8], until: Option<Instant>, stop: &Stop) -> io::Result<()> {
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
        let is_refused = poll(&mut polled, PollTimeout::from(LOOK_MILLIS)).is_err();
        // Refused where the program forbade itself all descriptors (`RLIMIT_NOFILE`).
        if stop.is_set() || is_refused && stop.wait(Duration::from_millis(LOOK_MILLIS.into())) {
            return Err(ErrorKind::Interrupted.into());
        }
    }
}

/// Asks for a pipe that holds so many bytes; a refusal leaves it as it is.
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
        write_within(&writer, &text, LONG, &Stop::default()).unwrap();
        drop(writer);
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert!(read == text);
    }

    #[test]
    fn a_text_larger_than_the_pipe_arrives_whole() {
        let (mut reader, writer) = both_ends();
        let text: Vec<u8> = (0..HUGE).map(|at| (at % 251) as u8).collect();
        fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
        let reading = thread::spawn(move || {
            let mut read = Vec::new();
            reader.read_to_end(&mut read).unwrap();
            read
        });
        write_in_pieces(&writer, &text, Instant::now().checked_add(LONG), &Stop::default()).unwrap();
        drop(writer);
        assert!(reading.join().unwrap() == text);
    }

    #[test]
    fn a_reader_that_does_not_read_is_given_up_after_the_deadline() {
        let (_reader, writer) = both_ends();
        let begin = Instant::now();
        let deadline = Duration::from_millis(50);
        let err = write_in_pieces(&writer, &vec![0; HUGE], begin.checked_add(deadline), &Stop::default())
            .unwrap_err();
        assert_eq!(err.kind(), ErrorKind::TimedOut);
        assert!(begin.elapsed() >= deadline);
    }

    #[test]
    fn the_word_to_stop_ends_a_write_at_once() {
        let (_reader, writer) = both_ends();
        let stop = Stop::default();
        stop.set();
        let until = Instant::now().checked_add(LONG);
        let err = write_in_pieces(&writer, &vec![0; HUGE], until, &stop).unwrap_err();
        assert_eq!(err.kind(), ErrorKind::Interrupted);
    }
}
