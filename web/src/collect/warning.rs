//! What an operator should know of one process: why its stats are missing, or some of them.
//!
//! Owns the sentence, fit for a terminal. It prints nothing and remembers nothing (see `serve::reports`). Made by the
//! collector for each collection.

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use statvent_core::name::EscapedName;

use super::candidates::MAX_PIPES;
use super::error::{CollectError, PipeError};
use super::quota::{MAX_NAME_BYTES, MAX_NAMES, MAX_TOTAL_BYTES};

/// What is wrong with one process, or with the directory; shown as one line that says which, why, and what to do.
#[derive(Debug)]
pub struct Warning {
    /// The name of its pipe; the path of the directory where it is about that.
    pub name: OsString,
    /// What is wrong.
    pub reason: Reason,
}

/// What is wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum Reason {
    /// Its pipe cannot be read: none of its stats count.
    Unreadable(PipeError),
    /// It writes lines that are none: its other stats count.
    Malformed {
        /// How many there were in what it said last.
        n_lines: usize,
    },
    /// All processes together say more than there is room for, and this one most: its first stats count.
    Truncated {
        /// How many of its stats do not.
        n_stats: usize,
    },
    /// It began to write and did not finish in time: it counts as late.
    Unfinished,
    /// There are more pipes in the directory than are asked.
    TooManyPipes {
        /// How many are left out.
        n_pipes: usize,
    },
    /// The directory cannot be used: no stats are served.
    Directory {
        /// Why, and what to do.
        message: String,
    },
}

impl Warning {
    /// Says of a directory why nothing was collected from it.
    #[must_use]
    pub fn for_directory(path: &Path, err: &CollectError) -> Self {
        Self { name: path.into(), reason: Reason::Directory { message: ErrorChain(err).to_string() } }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whoever may publish chooses the name, and the text may be shown on a terminal.
        for char in EscapedName(self.name.as_bytes()).to_string().chars() {
            match char {
                '\\' | '\'' | '"' => write!(f, "{char}")?,
                _ => write!(f, "{}", char.escape_debug())?,
            }
        }
        write!(f, ": {}", self.reason)
    }
}

/// Shows an error and its causes in one line.
pub struct ErrorChain<'a>(pub &'a dyn Error);

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        self.0.source().map_or(Ok(()), |cause| write!(f, ": {}", ErrorChain(cause)))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(err) => ErrorChain(err).fmt(f),
            Self::Malformed { n_lines } => write!(
                f,
                "malformed lines, which are skipped: {n_lines}: expected \"name: number\" on each: mend what \
                 its program writes"
            ),
            Self::Truncated { n_stats } => write!(
                f,
                "stats left out: {n_stats}: all processes together say more than {MAX_TOTAL_BYTES} bytes, {MAX_NAMES} \
                 names or {MAX_NAME_BYTES} bytes of names, and this one most: publish fewer"
            ),
            Self::Unfinished => f.write_str(
                "its process began to write and did not end within the deadline: look for what stops or slows it",
            ),
            Self::TooManyPipes { n_pipes } => write!(
                f,
                "pipes above the {MAX_PIPES} that are asked, which are left out: {n_pipes}: remove those that nobody \
                 writes, or give some programs a directory of their own"
            ),
            Self::Directory { message } => write!(f, "no stats are served: {message}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt as _;

    use crate::collect::SnapshotError;

    fn shown(name: &[u8], reason: Reason) -> String {
        Warning { name: OsString::from_vec(name.to_vec()), reason }.to_string()
    }

    #[test]
    fn messages_say_which_process_why_and_what_to_do() {
        let denied = std::io::Error::from_raw_os_error(nix::libc::EACCES);
        assert_eq!(
            shown(b"7.stats", Reason::Unreadable(PipeError::System(denied))),
            "7.stats: the pipe cannot be read: let its owner make it readable for this service's user: Permission \
             denied (os error 13)"
        );
        assert_eq!(
            shown(b"7.stats", Reason::Unreadable(PipeError::TooLarge(SnapshotError::TooManyStats))),
            "7.stats: the pipe was left unread: its process says too much: the process wrote more than 65536 \
             stats: publish fewer"
        );
        assert_eq!(
            shown(b"7.stats", Reason::Malformed { n_lines: 3 }),
            "7.stats: malformed lines, which are skipped: 3: expected \"name: number\" on each: mend what its \
             program writes"
        );
        assert_eq!(
            shown(b"7.stats", Reason::Truncated { n_stats: 9 }),
            "7.stats: stats left out: 9: all processes together say more than 12582912 bytes, 65536 names or 8388608 \
             bytes of names, and this one most: publish fewer"
        );
        assert_eq!(
            shown(b"7.stats", Reason::Unfinished),
            "7.stats: its process began to write and did not end within the deadline: look for what stops or slows it"
        );
        assert_eq!(
            shown(b"/pipes", Reason::TooManyPipes { n_pipes: 7 }),
            "/pipes: pipes above the 4096 that are asked, which are left out: 7: remove those that nobody writes, or \
             give some programs a directory of their own"
        );
        let message = "it is gone".to_owned();
        let lost = shown(b"/pipes", Reason::Directory { message });
        assert_eq!(lost, "/pipes: no stats are served: it is gone");
    }

    #[test]
    fn names_cannot_write_to_a_terminal() {
        let shown = shown(b"\x1b[2J\n\xff\xe2\x80\xae'\xc3\xa9.stats", Reason::Malformed { n_lines: 1 });
        assert!(shown.starts_with("\\u{1b}[2J\\n\\xff\\u{202e}'\u{e9}.stats: "), "{shown}");
    }
}
