//! Where a bridge's bytes come from: standard input, a file, or a device.
//!
//! Owns opening and reading it. It neither sets a serial line up (`stty` does) nor looks into the bytes (see `intake`).
//! Called by the bridge and, to open it before anything else is done, by `main`.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal as _, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use nix::fcntl::OFlag;

use super::BridgeError;

const CHUNK_BYTES: usize = 4096;

/// An open input.
pub(crate) struct Input {
    bytes: Box<dyn Read + Send>,
    begins_midway: bool,
}

impl Input {
    /// Opens a file or device, or takes standard input. Opening a serial line without a carrier waits for one.
    pub(crate) fn open(path: Option<PathBuf>) -> Result<Self, BridgeError> {
        let Some(path) = path else {
            return Ok(Self { bytes: Box::new(io::stdin()), begins_midway: io::stdin().is_terminal() });
        };
        let file = open_device(&path).map_err(|source| BridgeError::Open { path, source })?;
        Ok(Self { begins_midway: file.is_terminal(), bytes: Box::new(file) })
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
                Err(err) => return Err(err),
            }
        }
    }
}

fn open_device(path: &std::path::Path) -> io::Result<File> {
    // A serial line must not become the terminal of this process, whose hang-up would end it by a signal.
    OpenOptions::new().read(true).custom_flags(OFlag::O_NOCTTY.bits()).open(path)
}
