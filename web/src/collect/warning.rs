//! Warnings for the operator: why stats of one process are missing.
//!
//! Owns the sentences, safe to show on a terminal. It must not print, and it does not remember what was reported (see
//! `serve`).

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use statvent_core::name::EscapedName;

use super::error::{CollectError, PipeError};
use crate::error_chain::ErrorChain;
use crate::limits::{MAX_ANSWER_NAME_BYTES, MAX_NAMES, MAX_PIPES, MAX_TOTAL_BYTES};

/// A problem of one process or of the directory; shown as one line: which, why, and what to do.
#[derive(Debug)]
pub struct Warning {
    /// The name of the pipe, or the path of the directory.
    pub name: OsString,
    /// What is wrong.
    pub reason: Reason,
}

/// What is wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum Reason {
    /// The pipe cannot be read: none of its stats count.
    Unreadable(PipeError),
    /// The process writes malformed lines: its other stats count.
    Malformed {
        /// How many there were in its last snapshot.
        n_lines: usize,
    },
    /// The snapshots of all processes exceed a limit, and this is one of the largest: only its first stats count.
    Truncated {
        /// How many of its stats do not count.
        n_stats: usize,
    },
    /// The process began to write and did not finish in time: it counts as stale or late.
    Unfinished,
    /// The directory has more pipes than are read.
    TooManyPipes {
        /// How many are not read.
        n_pipes: usize,
    },
    /// The directory cannot be used: no stats are served.
    Directory {
        /// Why, and what to do.
        message: String,
    },
}

impl Warning {
    /// Returns the warning that nothing was collected from a directory.
    #[must_use]
    pub fn for_directory(path: &Path, err: &CollectError) -> Self {
        Self { name: path.into(), reason: Reason::Directory { message: ErrorChain(err).to_string() } }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Any process may choose the name, and a terminal may show the text: escape control characters.
        for char in EscapedName(self.name.as_bytes()).to_string().chars() {
            match char {
                '\\' | '\'' | '"' => write!(f, "{char}")?,
                _ => write!(f, "{}", char.escape_debug())?,
            }
        }
        write!(f, ": {}", self.reason)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(err) => ErrorChain(err).fmt(f),
            Self::Malformed { n_lines } => write!(
                f,
                "malformed lines skipped: {n_lines}: expected \"name: number\" on each: correct the program that writes \
                 them"
            ),
            Self::Truncated { n_stats } => write!(
                f,
                "stats left out: {n_stats}: all processes together write more than {MAX_TOTAL_BYTES} bytes, {MAX_NAMES} \
                 names or {MAX_ANSWER_NAME_BYTES} bytes of names, and this one is among the largest: publish fewer"
            ),
            Self::Unfinished => f.write_str(
                "the process began to write and did not finish within the deadline: check what stops or slows it",
            ),
            Self::TooManyPipes { n_pipes } => write!(
                f,
                "pipes left out: {n_pipes}: at most {MAX_PIPES} are read: remove those without a writer, or give some \
                 programs a directory of their own"
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
    fn messages_name_the_process_the_reason_and_the_remedy() {
        let denied = std::io::Error::from_raw_os_error(nix::libc::EACCES);
        assert_eq!(
            shown(b"7.stats", Reason::Unreadable(PipeError::System(denied))),
            "7.stats: the pipe cannot be read: let its owner make it readable for this service's user: Permission \
             denied (os error 13)"
        );
        assert_eq!(
            shown(b"7.stats", Reason::Unreadable(PipeError::TooLarge(SnapshotError::TooManyStats))),
            "7.stats: the snapshot is too large and none of its stats count: the process wrote more than 65536 stats: \
             publish fewer"
        );
        assert_eq!(
            shown(b"7.stats", Reason::Malformed { n_lines: 3 }),
            "7.stats: malformed lines skipped: 3: expected \"name: number\" on each: correct the program that writes \
             them"
        );
        assert_eq!(
            shown(b"7.stats", Reason::Truncated { n_stats: 9 }),
            "7.stats: stats left out: 9: all processes together write more than 12582912 bytes, 65536 names or 8388608 \
             bytes of names, and this one is among the largest: publish fewer"
        );
        assert_eq!(
            shown(b"7.stats", Reason::Unfinished),
            "7.stats: the process began to write and did not finish within the deadline: check what stops or slows it"
        );
        assert_eq!(
            shown(b"/pipes", Reason::TooManyPipes { n_pipes: 7 }),
            "/pipes: pipes left out: 7: at most 4096 are read: remove those without a writer, or give some programs a \
             directory of their own"
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
