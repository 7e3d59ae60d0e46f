//! Where a bridge's bytes come from: standard input, a file, or a device.
//!
//! Owns opening and reading it, and that a terminal gives all bytes as they come. The speed of a serial line is `stty`'s,
//! and what the bytes mean is `intake`'s.
//! Called by the bridge and, to open it before anything else is done, by `main`.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal as _, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{InputFlags, LocalFlags, SetArg, SpecialCharacterIndices, tcgetattr, tcsetattr};

use super::BridgeError;

const CHUNK_BYTES: usize = 4096;

/// An open input.
pub(crate) struct Input {
    bytes: File,
    begins_midway: bool,
}

impl Input {
    /// Opens a file or device, or takes standard input. Opening a serial line without a carrier waits for one.
    pub(crate) fn open(path: Option<PathBuf>) -> Result<Self, BridgeError> {
        let bytes = match path {
            None => File::from(io::stdin().as_fd().try_clone_to_owned().map_err(read_error)?),
            Some(path) => open_device(&path).map_err(|source| BridgeError::Open { path, source })?,
        };
        let begins_midway = bytes.is_terminal();
        if begins_midway && !is_ours(&bytes) {
            make_raw(&bytes).map_err(read_error)?;
        }
        Ok(Self { bytes, begins_midway })
    }

    /// Whether the first byte may be one within a line: a serial line was talking before we came.
    pub(super) fn begins_midway(&self) -> bool {
        self.begins_midway
    }

    /// Gives each chunk to `on_chunk`, until the input ends.
    pub(super) fn read_all(mut self, mut on_chunk: impl FnMut(&[u8])) -> io::Result<()> {
        let mut chunk = [0; CHUNK_BYTES];
        loop {
            match self.bytes.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(n_bytes) => on_chunk(&chunk[..n_bytes]),
                Err(err) if err.kind() == ErrorKind::Interrupted => {}
                Err(err) if err.kind() == ErrorKind::WouldBlock => wait_for_bytes(&self.bytes)?,
                Err(err) => return Err(err),
            }
        }
    }
}

fn read_error(source: io::Error) -> BridgeError {
    BridgeError::Read { source }
}

/// Whether this is the terminal that we talk to as well: somebody sits there, types lines, and wants to see them and to
/// end us by a key.
fn is_ours(terminal: &File) -> bool {
    let device = |fd: BorrowedFd<'_>| Some(File::from(fd.try_clone_to_owned().ok()?).metadata().ok()?.rdev());
    let terminal = device(terminal.as_fd());
    device(io::stdout().as_fd()) == terminal || device(io::stderr().as_fd()) == terminal
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

/// Waits where a read does not, which is the choice of whoever gave us the input.
fn wait_for_bytes(input: &File) -> io::Result<()> {
    let mut waiting = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
    match poll(&mut waiting, PollTimeout::NONE) {
        Ok(_) | Err(nix::Error::EINTR) => Ok(()),
        Err(err) => Err(err.into()),
    }
}

fn open_device(path: &std::path::Path) -> io::Result<File> {
    // A serial line must not become the terminal of this process, whose hang-up would end it by a signal.
    OpenOptions::new().read(true).custom_flags(OFlag::O_NOCTTY.bits()).open(path)
}
