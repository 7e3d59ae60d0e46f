//! The file name of a pipe: `[label.]<pid>[-n].stats`.
//!
//! Owns that grammar, both ways. It knows nothing of directories (see `statvent-posix`).

use core::fmt;

/// What the name of every pipe ends with.
pub const PIPE_SUFFIX: &str = ".stats";

/// The longest label, in bytes.
pub const MAX_LABEL_BYTES: usize = 64;

/// The parts of a pipe's file name.
///
/// ```
/// use statvent_core::pipe_name::{Label, PipeName};
///
/// let name = PipeName { label: Some(Label::new("board1").unwrap()), pid: 4711, n: 2 };
/// assert_eq!(name.to_string(), "board1.4711-2.stats");
/// assert_eq!(PipeName::parse(b"board1.4711-2.stats"), Some(name));
/// assert_eq!(PipeName::parse(b"notes.txt"), None);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PipeName<'a> {
    /// What the publisher calls itself.
    pub label: Option<Label<'a>>,
    /// The process, as its own pid namespace numbers it.
    pub pid: u32,
    /// Tells recorders of equal pid apart; 0 is not written.
    pub n: u16,
}

impl<'a> PipeName<'a> {
    /// Reads a file name; only the one text that [`Display`](fmt::Display) writes is taken.
    #[must_use]
    pub fn parse(file_name: &'a [u8]) -> Option<Self> {
        let stem = core::str::from_utf8(file_name).ok()?.strip_suffix(PIPE_SUFFIX)?;
        let (label, id) = match stem.split_once('.') {
            Some((label, id)) => (Some(Label::new(label)?), id),
            None => (None, stem),
        };
        let (pid, n) = match id.split_once('-') {
            Some((pid, n)) => (pid, canonical(n)?),
            None => (id, 0),
        };
        let pid = canonical(pid)?;
        (id.contains('-') == (n != 0)).then_some(Self { label, pid, n })
    }
}

impl fmt::Display for PipeName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(label) = self.label {
            write!(f, "{}.", label.as_str())?;
        }
        write!(f, "{}", self.pid)?;
        if self.n != 0 {
            write!(f, "-{}", self.n)?;
        }
        f.write_str(PIPE_SUFFIX)
    }
}

/// What a publisher calls itself: 1 to 64 ASCII letters, digits, `_` and `-`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Label<'a>(&'a str);

impl<'a> Label<'a> {
    /// Returns the label if it keeps the rules.
    #[must_use]
    pub fn new(label: &'a str) -> Option<Self> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let fits = (1..=MAX_LABEL_BYTES).contains(&label.len());
        (fits && label.bytes().all(known)).then_some(Self(label))
    }

    /// Returns the label's text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

/// A number without sign and leading zeros, so that one pipe has one name.
fn canonical<T: core::str::FromStr>(text: &str) -> Option<T> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn ok_names_read_back_as_they_were_written() {
        for text in ["1.stats", "4194304-7.stats", "web.12.stats", "a-b_C9.12-65535.stats", "5.12.stats"] {
            let name = PipeName::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(name.to_string(), text);
        }
    }

    #[test]
    fn err_anything_else() {
        let long_label = std::format!("{}.1.stats", "l".repeat(65));
        for text in [
            "",
            ".stats",
            "x.stats",
            "1.stat",
            "1.stats.",
            "01.stats",
            "1-0.stats",
            "1-.stats",
            "-1.stats",
            "+1.stats",
            "1-65536.stats",
            "4294967296.stats",
            ".1.stats",
            "a.b.1.stats",
            "a/b.1.stats",
            "\u{e9}.1.stats",
            &long_label,
        ] {
            assert_eq!(PipeName::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(PipeName::parse(b"\xff.1.stats"), None);
    }
}
