//! Where a bridge's bytes come from: standard input, a file, or a device.
//!
//! Owns opening and reading it, and that a terminal gives all bytes as they come. The speed of a serial line is `stty`'s,
//! and what the bytes mean is `intake`'s.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal as _, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use nix::sys::termios::{InputFlags, LocalFlags, SetArg, SpecialCharacterIndices, tcgetattr, tcsetattr};

const CHUNK_BYTES: usize = 4096;

/// Opens a file or device, or takes standard input. Opening a serial line without a carrier waits for one.
pub(super) fn open(path: Option<&Path>) -> io::Result<File> {
    let input = match path {
        None => File::from(io::stdin().as_fd().try_clone_to_owned()?),
        // A serial line must not become the terminal of this process, whose hang-up would end it by a signal.
        Some(path) => OpenOptions::new().read(true).custom_flags(OFlag::O_NOCTTY.bits()).open(path)?,
    };
    if input.is_terminal() && !is_controlling_tty(&input) {
        make_raw(&input)?;
    }
    Ok(input)
}

/// Gives each chunk to `on_chunk`, until the input ends.
pub(super) fn read_all(mut input: File, mut on_chunk: impl FnMut(&[u8])) -> io::Result<()> {
    let mut chunk = [0; CHUNK_BYTES];
    loop {
        match input.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(n_bytes) => on_chunk(&chunk[..n_bytes]),
            Err(err) if err.kind() == ErrorKind::Interrupted => {}
            Err(err) if err.kind() == ErrorKind::WouldBlock => {
                // Another program made standard input non-blocking. What goes wrong here is what the next read says.
                let _ = poll(&mut [PollFd::new(input.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE);
            }
            Err(err) => return Err(err),
        }
    }
}

/// Whether this is the terminal that we print to as well: then a person types lines there, and wants to see them and to
/// end us by a key.
fn is_controlling_tty(terminal: &File) -> bool {
    let device = |fd: BorrowedFd<'_>| fstat(fd).ok().map(|stat| stat.st_rdev);
    [io::stdout().as_fd(), io::stderr().as_fd()].into_iter().any(|fd| device(fd) == device(terminal.as_fd()))
}

/// Has a terminal give all bytes as they come. As it is opened it makes an end, a signal, or nothing of some of them, and
/// sends back what the board says.
///
/// `tcsetattr`: <https://man7.org/linux/man-pages/man3/termios.3.html>.
fn make_raw(terminal: &File) -> io::Result<()> {
    let mut settings = tcgetattr(terminal)?;
    settings.local_flags -= LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG | LocalFlags::IEXTEN;
    settings.input_flags -= InputFlags::IXON | InputFlags::IXOFF | InputFlags::BRKINT;
    // A read waits for the first byte.
    settings.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
    settings.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
    Ok(tcsetattr(terminal, SetArg::TCSANOW, &settings)?)
}
