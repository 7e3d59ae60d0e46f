//! File name of a pipe: `[label.]<pid>[-instance].stats`.
//!
//! Owns the grammar: parsing and formatting. It accesses no files.

use std::fmt;

/// The end of every pipe's file name.
pub const PIPE_EXTENSION: &str = ".stats";

/// The longest label, in bytes.
pub const MAX_LABEL_BYTES: usize = 64;

/// The parts of a pipe's file name.
///
/// ```
/// use statvent_posix::pipe_name::{Label, PipeName};
///
/// let name = PipeName { label: Some(Label::new("board1").unwrap()), pid: 4711, instance: 2 };
/// assert_eq!(name.to_string(), "board1.4711-2.stats");
/// assert_eq!(PipeName::parse(b"board1.4711-2.stats"), Some(name));
/// assert_eq!(PipeName::parse(b"notes.txt"), None);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PipeName<'a> {
    /// The name that the publisher chose, if any.
    pub label: Option<Label<'a>>,
    /// The process id, in the process's own pid namespace.
    pub pid: u32,
    /// Distinguishes recorders of equal pid; 0 is omitted from the name.
    pub instance: u16,
}

impl<'a> PipeName<'a> {
    /// Parses a file name. Accepts only the exact text that [`Display`](fmt::Display) writes; `None` for any other.
    #[must_use]
    pub fn parse(file_name: &'a [u8]) -> Option<Self> {
        let stem = std::str::from_utf8(file_name).ok()?.strip_suffix(PIPE_EXTENSION)?;
        let (label, id) = match stem.split_once('.') {
            Some((label, id)) => (Some(Label::new(label)?), id),
            None => (None, stem),
        };
        let (pid, instance) = match id.split_once('-') {
            Some((pid, instance)) => (pid, parse_canonical(instance)?),
            None => (id, 0),
        };
        let pid = parse_canonical(pid)?;
        (id.contains('-') == (instance != 0)).then_some(Self { label, pid, instance })
    }
}

impl fmt::Display for PipeName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(label) = self.label {
            write!(f, "{}.", label.as_str())?;
        }
        write!(f, "{}", self.pid)?;
        if self.instance != 0 {
            write!(f, "-{}", self.instance)?;
        }
        f.write_str(PIPE_EXTENSION)
    }
}

/// The name that a publisher chose: 1 to 64 ASCII letters, digits, `_` and `-`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Label<'a>(&'a str);

impl<'a> Label<'a> {
    /// Checks a label; `None` if it has another length or other characters.
    #[must_use]
    pub fn new(label: &'a str) -> Option<Self> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let fits = (1..=MAX_LABEL_BYTES).contains(&label.len());
        (fits && label.bytes().all(is_allowed)).then_some(Self(label))
    }

    /// Returns the label's text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

/// Parses a number without sign and leading zeros, so that a pipe has exactly one name.
fn parse_canonical<T: std::str::FromStr>(text: &str) -> Option<T> {
    let is_canonical =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    if is_canonical { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ok_names_read_back_as_they_were_written() {
        for text in ["1.stats", "4194304-7.stats", "web.12.stats", "a-b_C9.12-65535.stats", "5.12.stats"] {
            let name = PipeName::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(name.to_string(), text);
        }
    }

    #[test]
    fn err_anything_else() {
        let long_label = format!("{}.1.stats", "l".repeat(65));
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
