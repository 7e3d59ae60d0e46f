//! Arguments of a command line, the options that subcommands share, and the type of a subcommand.
//!
//! Parsing has no side effects: no environment, no output. The table of subcommands is in `dispatch`.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use lexopt::prelude::*;

use super::error::{RunError, UsageError};
use super::limits::MAX_DEADLINE;

/// What a command line asks for.
pub(crate) type Action = Box<dyn FnOnce() -> Result<(), RunError>>;

/// One row of the table of subcommands.
pub(crate) struct Subcommand {
    /// The first word of its command line; empty for the service.
    pub(crate) name: &'static str,
    /// Its purpose, in one line.
    pub(crate) summary: &'static str,
    /// The words after its name; empty if it is hidden from users.
    pub(crate) usage: &'static str,
    /// The rest of its help text, from an empty line on: the options, with their defaults in brackets.
    pub(crate) details: &'static str,
    /// Parses the words after its name.
    pub(crate) parse: fn(Args) -> Result<Action, EarlyExit>,
}

/// Why parsing of a command line ends early.
#[derive(Debug)]
pub(crate) enum EarlyExit {
    /// It asks for the help text.
    Help,
    /// It asks for the version.
    Version,
    /// It is not understood.
    Usage(UsageError),
}

impl From<UsageError> for EarlyExit {
    fn from(err: UsageError) -> Self {
        Self::Usage(err)
    }
}

impl From<lexopt::Error> for EarlyExit {
    fn from(err: lexopt::Error) -> Self {
        Self::Usage(err.into())
    }
}

/// The arguments of a subcommand, without the names of the program and the subcommand.
pub(crate) struct Args(lexopt::Parser);

impl Args {
    pub(crate) fn new(words: impl IntoIterator<Item = OsString>) -> Self {
        Self(lexopt::Parser::from_args(words))
    }

    /// Returns the next option or word. Every subcommand has `--help` and `--version`.
    pub(crate) fn next(&mut self) -> Result<Option<lexopt::Arg<'_>>, EarlyExit> {
        match self.0.next()? {
            Some(Short('h') | Long("help")) => Err(EarlyExit::Help),
            Some(Short('V') | Long("version")) => Err(EarlyExit::Version),
            arg => Ok(arg),
        }
    }

    /// Returns the value of the last option. `expected` completes the sentence of the error.
    pub(crate) fn value<T>(
        &mut self,
        option: &'static str,
        expected: &'static str,
        parse: impl FnOnce(&OsStr) -> Option<T>,
    ) -> Result<T, UsageError> {
        let found = self.0.value()?;
        parse(&found).ok_or(UsageError::Value { option, found, expected })
    }

    /// Returns whether the last option, whose value is optional, has a value: after `=`, or a number as the next word.
    pub(crate) fn has_number(&mut self) -> bool {
        let is_number = |word: &OsStr| word.as_encoded_bytes().first().is_some_and(u8::is_ascii_digit);
        self.0.try_raw_args().is_none_or(|words| words.peek().is_some_and(is_number))
    }

    /// Returns the value of `--pipe-dir`.
    pub(crate) fn pipe_dir(&mut self) -> Result<PathBuf, UsageError> {
        self.value("--pipe-dir", "a directory", |word| (!word.is_empty()).then(|| word.into()))
    }

    /// Returns the value of `--deadline`.
    pub(crate) fn deadline(&mut self) -> Result<Duration, UsageError> {
        self.value("--deadline", "a time from 1ms to 60s, as in 500ms, 2s or 1", parse_duration)
    }

    /// Returns the value of `--allow-uid`.
    pub(crate) fn uid(&mut self) -> Result<u32, UsageError> {
        self.value("--allow-uid", "the number of a user, as `id -u` prints it", parse_text)
    }
}

/// Parses a value by its type's `FromStr`.
pub(crate) fn parse_text<T: FromStr>(word: &OsStr) -> Option<T> {
    word.to_str()?.parse().ok()
}

/// Parses digits, followed by `ms`, `s`, or nothing for seconds.
fn parse_duration(word: &OsStr) -> Option<Duration> {
    let text = word.to_str()?;
    let (digits, unit_ms) = match text.strip_suffix("ms") {
        Some(digits) => (digits, 1),
        None => (text.strip_suffix('s').unwrap_or(text), 1000),
    };
    let n_units: u64 = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    let duration = Duration::from_millis(n_units.checked_mul(unit_ms)?);
    (!duration.is_zero() && duration <= MAX_DEADLINE).then_some(duration)
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
            assert!(matches!(result, Err(UsageError::Value { .. })), "{word}");
        }
    }

    #[test]
    fn optional_values_are_recognized() {
        for (words, has_number) in
            [("--demo", false), ("--demo 5", true), ("--demo=x", true), ("--demo -p 0", false)]
        {
            assert_eq!(args(words).has_number(), has_number, "{words}");
        }
    }

    #[test]
    fn every_subcommand_has_help_and_version() {
        for word in ["-h", "--help"] {
            assert!(matches!(Args::new([word.into()]).next(), Err(EarlyExit::Help)), "{word}");
        }
        for word in ["-V", "--version"] {
            assert!(matches!(Args::new([word.into()]).next(), Err(EarlyExit::Version)), "{word}");
        }
    }
}
