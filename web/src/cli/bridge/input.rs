//! The input of a bridge: standard input, a file, or a serial device.
//!
//! Opens it, switches a terminal to raw mode, and reads it. The speed of a serial line is set by `stty`. The meaning of the
//! bytes is in `ingest`.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal as _, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use nix::sys::termios::{InputFlags, LocalFlags, SetArg, SpecialCharacterIndices, tcgetattr, tcsetattr};

use crate::cli::limits::BRIDGE_CHUNK_BYTES;

/// Opens a file or device, or duplicates standard input. Opening a serial line blocks until it has a carrier.
pub(super) fn open(path: Option<&Path>) -> io::Result<File> {
    let input = match path {
        None => File::from(io::stdin().as_fd().try_clone_to_owned()?),
        // A serial line must not become the controlling terminal: its hang-up would end this process by a signal.
        Some(path) => OpenOptions::new().read(true).custom_flags(OFlag::O_NOCTTY.bits()).open(path)?,
    };
    if input.metadata()?.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    if input.is_terminal() && !is_output_terminal(&input) {
        make_raw(&input)?;
    }
    Ok(input)
}

/// Passes each chunk to `on_chunk` until the input ends.
pub(super) fn read_all(mut input: File, mut on_chunk: impl FnMut(&[u8])) -> io::Result<()> {
    let mut chunk = [0; BRIDGE_CHUNK_BYTES];
    loop {
        match input.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(n_bytes) => on_chunk(&chunk[..n_bytes]),
            Err(err) if err.kind() == ErrorKind::Interrupted => {}
            Err(err) if err.kind() == ErrorKind::WouldBlock => {
                // Another program made standard input non-blocking. If `poll` fails, the next read reports the error.
                let _ = poll(&mut [PollFd::new(input.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE);
            }
            Err(err) => return Err(err),
        }
    }
}

/// Returns whether a terminal is the one that this process prints to: a person types there, and needs echo and Ctrl-C.
fn is_output_terminal(terminal: &File) -> bool {
    let device = |fd: BorrowedFd<'_>| fstat(fd).ok().map(|stat| stat.st_rdev);
    [io::stdout().as_fd(), io::stderr().as_fd()].into_iter().any(|fd| device(fd) == device(terminal.as_fd()))
}

/// Switches a terminal to raw mode, in which every byte arrives as it was sent.
///
/// By default, a terminal edits lines, turns some bytes into signals or flow control, and echoes everything to the board.
///
/// `tcsetattr`: <https://man7.org/linux/man-pages/man3/termios.3.html>.
fn make_raw(terminal: &File) -> io::Result<()> {
    let mut settings = tcgetattr(terminal)?;
    settings.local_flags -= LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG | LocalFlags::IEXTEN;
    settings.input_flags -= InputFlags::IXON | InputFlags::IXOFF | InputFlags::BRKINT;
    // A read blocks until one byte is available.
    settings.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
    settings.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
    Ok(tcsetattr(terminal, SetArg::TCSANOW, &settings)?)
}
