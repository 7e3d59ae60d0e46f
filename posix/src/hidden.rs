//! Names under which pipes stand for moments, and which no reader takes for a pipe's.
//!
//! Owns their form: a recorder makes the successor of its pipe aside (`.<pipe>.new<n>`), and whoever removes a dead pipe
//! puts that aside first (`.<pid>-<n>.dead`). A process that is killed in between leaves them behind; whether one may go is
//! for the collector to judge. Called by `fifo`, `sweep` and the collector.

use statvent_core::pipe_name::PipeName;
use std::collections::hash_map::RandomState;
use std::ffi::OsStr;
use std::hash::{BuildHasher, Hasher};

/// Who made a hidden name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Maker<'a> {
    /// The recorder whose pipe has this name.
    Recorder(PipeName<'a>),
    /// The process with this pid, while it removed a pipe.
    Remover(u32),
}

impl<'a> Maker<'a> {
    /// Reads who made a file name; `None` if it is none of ours, or hides nothing.
    ///
    /// ```
    /// use statvent_posix::hidden::Maker;
    ///
    /// assert_eq!(Maker::of(b".7-3.dead"), Some(Maker::Remover(7)));
    /// assert_eq!(Maker::of(b"7.stats"), None);
    /// ```
    #[must_use]
    pub fn of(name: &'a [u8]) -> Option<Self> {
        let name = name.strip_prefix(b".")?;
        if let Some(aside) = name.strip_suffix(REMOVED) {
            let mut numbers = aside.split(|&byte| byte == b'-').map(number);
            let (pid, _) = (numbers.next()??, numbers.next()??);
            return numbers.next().is_none().then_some(Self::Remover(pid));
        }
        let at = name.windows(SUCCESSOR.len()).rposition(|window| window == SUCCESSOR)?;
        number(&name[at + SUCCESSOR.len()..])?;
        PipeName::parse(&name[..at]).map(Self::Recorder)
    }
}

const SUCCESSOR: &[u8] = b".new";
const REMOVED: &[u8] = b".dead";

/// Names the successor of a pipe before it takes that name. The first one tried is `n` = 0, so that what a process of equal
/// name left there is found again.
pub(crate) fn successor(pipe: &OsStr, n: u32) -> String {
    format!(".{}.new{n}", pipe.to_string_lossy())
}

/// Names a pipe that the process `pid` is about to remove.
pub(crate) fn removed(pid: u32, n: u32) -> String {
    format!(".{pid}-{n}.dead")
}

/// Returns a number that nobody can foresee, and so no other user of the directory can have taken a name with it.
pub(crate) fn unforeseen() -> u32 {
    // The keys of the standard library's hashes are random, and another hash is made with each call.
    RandomState::new().build_hasher().finish() as u32
}

fn number(digits: &[u8]) -> Option<u32> {
    let is_decimal = digits.iter().all(u8::is_ascii_digit);
    str::from_utf8(digits).ok().filter(|_| is_decimal)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_who_made_them_and_others_say_nothing() {
        let recorder = |name: &'static str| PipeName::parse(name.as_bytes()).map(Maker::Recorder);
        for (name, expected) in [
            (successor("7.stats".as_ref(), 0), recorder("7.stats")),
            (successor("shop.7-2.stats".as_ref(), 15), recorder("shop.7-2.stats")),
            (removed(7, 3), Some(Maker::Remover(7))),
            (successor("7.stats".as_ref(), u32::MAX), recorder("7.stats")),
            (removed(7, u32::MAX), Some(Maker::Remover(7))),
            (".7.stats.new".to_owned(), None),
            (".7.stats.new+1".to_owned(), None),
            (".x.new0".to_owned(), None),
            (".7.dead".to_owned(), None),
            (".7-3-1.dead".to_owned(), None),
            ("7.stats.new0".to_owned(), None),
            (".stats".to_owned(), None),
        ] {
            assert_eq!(Maker::of(name.as_bytes()), expected, "{name}");
        }
    }
}
