//! What an operator should know of one process: why its stats are missing, or some of them.
//!
//! Owns the sentence, fit for a terminal. It prints nothing and remembers nothing (see `serve::reports`). Made by the
//! collector for each collection.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;

use statvent_core::name::EscapedName;

use super::pipe::PipeError;

/// What is wrong with one process; shown as one line that says which, why, and what to do.
#[derive(Debug)]
pub struct Trouble {
    /// The name of its pipe.
    pub name: OsString,
    /// What is wrong.
    pub reason: Reason,
}

/// What is wrong with a process.
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
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whoever may publish chooses the name, and the text may be shown on a terminal.
        for char in EscapedName(self.name.as_bytes()).to_string().chars() {
            match char {
                '\\' | '\'' | '"' => write!(f, "{char}")?,
                _ => write!(f, "{}", char.escape_debug())?,
            }
        }
        write!(f, ": {}", self.reason)?;
        let mut cause = core::error::Error::source(&self.reason);
        while let Some(err) = cause {
            write!(f, ": {err}")?;
            cause = err.source();
        }
        Ok(())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(err) => err.fmt(f),
            Self::Malformed { n_lines } => write!(
                f,
                "malformed lines, which are skipped: {n_lines}: expected \"name: number\" on each: mend what \
                 its program writes"
            ),
        }
    }
}

impl core::error::Error for Reason {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Unreadable(err) => err.source(),
            Self::Malformed { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt as _;

    use crate::collect::ReadingError;

    fn shown(name: &[u8], reason: Reason) -> String {
        Trouble { name: OsString::from_vec(name.to_vec()), reason }.to_string()
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
            shown(b"7.stats", Reason::Unreadable(PipeError::TooMuch(ReadingError::TooManyStats))),
            "7.stats: the pipe was left unread: its process says too much: the process wrote more than 65536 \
             stats: publish fewer"
        );
        assert_eq!(
            shown(b"7.stats", Reason::Malformed { n_lines: 3 }),
            "7.stats: malformed lines, which are skipped: 3: expected \"name: number\" on each: mend what its \
             program writes"
        );
    }

    #[test]
    fn names_cannot_write_to_a_terminal() {
        let shown = shown(b"\x1b[2J\n\xff\xe2\x80\xae'\xc3\xa9.stats", Reason::Malformed { n_lines: 1 });
        assert!(shown.starts_with("\\u{1b}[2J\\n\\xff\\u{202e}'\u{e9}.stats: "), "{shown}");
    }
}
