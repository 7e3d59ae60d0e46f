//! Hidden names of pipes during a swap or a removal.
//!
//! Owns the form of these names. A recorder creates the replacement of its pipe under a staging name (`.<pipe>.new<n>`). A
//! process that removes a dead pipe renames it to a tombstone name first (`.<pid>-<n>.dead`). Readers ignore both. A process
//! that is killed in between leaves them behind; whether such a file may be removed is decided elsewhere.

use crate::pipe::name::PipeName;
use std::collections::hash_map::RandomState;
use std::ffi::OsStr;
use std::hash::{BuildHasher, Hasher};

/// The owner of a hidden name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HiddenNameOwner<'a> {
    /// A staging name: the recorder whose pipe has this name.
    Recorder(PipeName<'a>),
    /// A tombstone name: the pid of the process that was removing a pipe, a dead one or its own.
    Sweeper(u32),
}

impl<'a> HiddenNameOwner<'a> {
    /// Parses a file name; `None` if it is neither a staging name nor a tombstone name.
    ///
    /// ```
    /// use statvent_posix::hidden_name::HiddenNameOwner;
    ///
    /// assert_eq!(HiddenNameOwner::parse(b".7-3.dead"), Some(HiddenNameOwner::Sweeper(7)));
    /// assert_eq!(HiddenNameOwner::parse(b"7.stats"), None);
    /// ```
    #[must_use]
    pub fn parse(name: &'a [u8]) -> Option<Self> {
        let name = name.strip_prefix(b".")?;
        if let Some(numbers) = name.strip_suffix(TOMBSTONE_SUFFIX) {
            let mut numbers = numbers.split(|&byte| byte == b'-').map(parse_number);
            let (pid, _) = (numbers.next()??, numbers.next()??);
            return numbers.next().is_none().then_some(Self::Sweeper(pid));
        }
        let suffix_idx = name.windows(STAGING_SUFFIX.len()).rposition(|window| window == STAGING_SUFFIX)?;
        parse_number(&name[suffix_idx + STAGING_SUFFIX.len()..])?;
        PipeName::parse(&name[..suffix_idx]).map(Self::Recorder)
    }
}

const STAGING_SUFFIX: &[u8] = b".new";
const TOMBSTONE_SUFFIX: &[u8] = b".dead";

/// Returns the staging name for a pipe's replacement. Try `n` = 0 first: so a recorder finds what a killed process with the
/// same pipe name left there.
pub(crate) fn staging_name(pipe: &OsStr, n: u32) -> String {
    format!(".{}.new{n}", pipe.to_string_lossy())
}

/// Returns the tombstone name for a pipe that the process `pid` is about to remove.
pub(crate) fn tombstone_name(pid: u32, n: u32) -> String {
    format!(".{pid}-{n}.dead")
}

/// Returns a random number, so that no other user can take the name with this number in advance.
pub(crate) fn random_number() -> u32 {
    // The keys of the standard library's hashes are random, and every call makes another hash.
    RandomState::new().build_hasher().finish() as u32
}

fn parse_number(digits: &[u8]) -> Option<u32> {
    let is_decimal = digits.iter().all(u8::is_ascii_digit);
    str::from_utf8(digits).ok().filter(|_| is_decimal)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_names_parse_to_their_owners_and_other_names_to_none() {
        let recorder = |name: &'static str| PipeName::parse(name.as_bytes()).map(HiddenNameOwner::Recorder);
        for (name, expected) in [
            (staging_name("7.stats".as_ref(), 0), recorder("7.stats")),
            (staging_name("shop.7-2.stats".as_ref(), 15), recorder("shop.7-2.stats")),
            (tombstone_name(7, 3), Some(HiddenNameOwner::Sweeper(7))),
            (staging_name("7.stats".as_ref(), u32::MAX), recorder("7.stats")),
            (tombstone_name(7, u32::MAX), Some(HiddenNameOwner::Sweeper(7))),
            (".7.stats.new".to_owned(), None),
            (".7.stats.new+1".to_owned(), None),
            (".x.new0".to_owned(), None),
            (".7.dead".to_owned(), None),
            (".7-3-1.dead".to_owned(), None),
            ("7.stats.new0".to_owned(), None),
            (".stats".to_owned(), None),
        ] {
            assert_eq!(HiddenNameOwner::parse(name.as_bytes()), expected, "{name}");
        }
    }
}
