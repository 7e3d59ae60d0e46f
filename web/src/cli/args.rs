//! Words of a command line: what a subcommand is, the options that several of them share, and errors.
//!
//! It reads no environment, prints nothing and does nothing. It knows no subcommand: the table is in `cli`.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use lexopt::prelude::*;

const LONGEST_DEADLINE: Duration = Duration::from_secs(60);

/// What a command line that is understood asks for.
pub(crate) type Run = Box<dyn FnOnce() -> Result<(), Box<dyn Error>>>;

/// One row of the table of subcommands.
pub(crate) struct Subcommand {
    /// The first word of its command line.
    pub(crate) name: &'static str,
    /// What it does, in one line.
    pub(crate) summary: &'static str,
    /// The words that follow its name; empty if it is not for users.
    pub(crate) usage: &'static str,
    /// The rest of its help text, from an empty line on: the options, with their defaults in brackets.
    pub(crate) details: &'static str,
    /// Reads the words that follow its name.
    pub(crate) parse: fn(Args) -> Result<Run, Stop>,
}

/// Why a command line is not run as it stands.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It asks for the help text.
    Help,
    /// It asks for the version.
    Version,
    /// It is not understood. An error of our own (`Custom`) says what was expected.
    Error(lexopt::Error),
}

impl From<lexopt::Error> for Stop {
    fn from(err: lexopt::Error) -> Self {
        Self::Error(err)
    }
}

/// The words of a command line, without the program's name and the subcommand.
pub(crate) struct Args(lexopt::Parser);

impl Args {
    pub(crate) fn new(words: impl IntoIterator<Item = OsString>) -> Self {
        Self(lexopt::Parser::from_args(words))
    }

    /// Returns the next option or word; `--help` and `--version` are those of every subcommand.
    pub(crate) fn next(&mut self) -> Result<Option<lexopt::Arg<'_>>, Stop> {
        match self.0.next()? {
            Some(Short('h') | Long("help")) => Err(Stop::Help),
            Some(Short('V') | Long("version")) => Err(Stop::Version),
            arg => Ok(arg),
        }
    }

    /// Reads the value of the option that came last.
    pub(crate) fn value<T>(
        &mut self,
        option: &str,
        expected: &str,
        parse: impl FnOnce(&OsStr) -> Option<T>,
    ) -> Result<T, lexopt::Error> {
        let found = self.0.value()?;
        parse(&found).ok_or_else(|| format!("{option} was given {found:?}: expected {expected}").into())
    }

    /// Whether the option that came last has a value that may be left out: one after `=`, or a number as the next word.
    pub(crate) fn has_number(&mut self) -> bool {
        let is_number = |word: &OsStr| word.as_encoded_bytes().first().is_some_and(u8::is_ascii_digit);
        self.0.try_raw_args().is_none_or(|words| words.peek().is_some_and(is_number))
    }

    /// The value of `--pipe-dir`.
    pub(crate) fn pipe_dir(&mut self) -> Result<PathBuf, lexopt::Error> {
        self.value("--pipe-dir", "a directory", |word| (!word.is_empty()).then(|| word.into()))
    }

    /// The value of `--deadline`.
    pub(crate) fn deadline(&mut self) -> Result<Duration, lexopt::Error> {
        self.value("--deadline", "a time from 1ms to 60s, as in 500ms, 2s or 1", parse_duration)
    }

    /// The value of `--allow-uid`.
    pub(crate) fn uid(&mut self) -> Result<u32, lexopt::Error> {
        self.value("--allow-uid", "the number of a user, as `id -u` prints it", parse_text)
    }
}

/// An option without a default is missing.
pub(crate) fn missing(option: &str) -> lexopt::Error {
    format!("{option} is missing: expected the options that --help lists").into()
}

/// Reads a value that is text.
pub(crate) fn parse_text<T: FromStr>(word: &OsStr) -> Option<T> {
    word.to_str()?.parse().ok()
}

/// Digits with `ms`, `s` or nothing after them, which means seconds.
fn parse_duration(word: &OsStr) -> Option<Duration> {
    let text = word.to_str()?;
    let (digits, unit_ms) = match text.strip_suffix("ms") {
        Some(digits) => (digits, 1),
        None => (text.strip_suffix('s').unwrap_or(text), 1000),
    };
    let n_units: u64 = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    let duration = Duration::from_millis(n_units.checked_mul(unit_ms)?);
    (!duration.is_zero() && duration <= LONGEST_DEADLINE).then_some(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(words: &str) -> Args {
        let mut args = Args::new(words.split_whitespace().map(OsString::from));
        args.next().unwrap();
        args
    }

    #[test]
    fn ok_deadlines() {
        for (word, ms) in [("500ms", 500), ("2s", 2000), ("1", 1000), ("60s", 60_000), ("1ms", 1)] {
            let deadline = args(&format!("--deadline {word}")).deadline().unwrap();
            assert_eq!(deadline, Duration::from_millis(ms), "{word}");
        }
    }

    #[test]
    fn err_deadlines() {
        for word in ["0", "1m", "61", "+1", "s", "99999999999999999999"] {
            let result = args(&format!("--deadline={word}")).deadline();
            assert!(matches!(result, Err(lexopt::Error::Custom(_))), "{word}");
        }
    }

    #[test]
    fn values_that_may_be_left_out() {
        for (words, has_number) in
            [("--demo", false), ("--demo 5", true), ("--demo=x", true), ("--demo -p 0", false)]
        {
            assert_eq!(args(words).has_number(), has_number, "{words}");
        }
    }

    #[test]
    fn help_and_version_are_those_of_every_subcommand() {
        for word in ["-h", "--help"] {
            assert!(matches!(Args::new([word.into()]).next(), Err(Stop::Help)), "{word}");
        }
        for word in ["-V", "--version"] {
            assert!(matches!(Args::new([word.into()]).next(), Err(Stop::Version)), "{word}");
        }
    }
}
