//! The command line of the bridge: its options and its help text.
//!
//! Owns what the words after `bridge` mean. It opens nothing and does nothing. Called by `args`.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::*;
use statvent_core::pipe_name::Label;

use crate::args::{ArgsError, Command, parse_dir, read};

/// The word that a bridge's command line begins with.
pub(crate) const WORD: &str = "bridge";

/// What `bridge --help` prints.
pub(crate) const HELP: &str = "\
statvent-web bridge: publishes what a board prints as a pipe beside those of processes

usage: statvent-web bridge --name NAME [options] [INPUT]

Reads `name: value` lines from INPUT, a file or serial device, or from standard input, and publishes the last value of
each name as the pipe NAME.<pid>.stats until the input ends. Other lines are skipped and counted.

  -n, --name NAME       what the board is called: 1 to 64 letters, digits, _ and -
  -d, --pipe-dir DIR    directory of the pipes [$STATVENT_PIPE_DIR, or /tmp/stats-pipe]
  -h, --help            print this

The speed of a serial line is set by stty, once it is open:
  (stty 115200 clocal && exec statvent-web bridge --name board1) < /dev/ttyACM0
";

/// What to publish, and where.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Options {
    /// The label of the pipe's file name.
    pub(crate) name: String,
    /// The directory of the pipes, if it is given.
    pub(crate) pipe_dir: Option<PathBuf>,
    /// The file or device to read, if it is not standard input.
    pub(crate) input: Option<PathBuf>,
}

/// Reads the words after `bridge`.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Command, ArgsError> {
    let mut parser = lexopt::Parser::from_args(words);
    let (mut name, mut pipe_dir, mut input) = (None, None, None);
    while let Some(arg) = parser.next()? {
        match arg {
            Short('n') | Long("name") => {
                let expected = "1 to 64 ASCII letters, digits, `_` and `-`";
                name = Some(read(&mut parser, "--name", expected, parse_name)?);
            }
            Short('d') | Long("pipe-dir") => {
                pipe_dir = Some(read(&mut parser, "--pipe-dir", "a directory", parse_dir)?);
            }
            Short('h') | Long("help") => return Ok(Command::BridgeHelp),
            Value(path) if input.is_none() => input = Some(path.into()),
            _ => return Err(arg.unexpected().into()),
        }
    }
    let name = name.ok_or(ArgsError::Missing { option: "--name" })?;
    Ok(Command::Bridge(Options { name, pipe_dir, input }))
}

fn parse_name(word: &OsString) -> Option<String> {
    Label::new(word.to_str()?).map(|label| label.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(words: &str) -> Result<Command, ArgsError> {
        crate::args::parse(words.split_whitespace().map(OsString::from))
    }

    #[test]
    fn ok_options_and_input() {
        let options = |input: Option<&str>| {
            Command::Bridge(Options {
                name: "board1".into(),
                pipe_dir: Some("/run/pipes".into()),
                input: input.map(PathBuf::from),
            })
        };
        assert_eq!(parse_words("bridge --name board1 --pipe-dir /run/pipes").unwrap(), options(None));
        let short = parse_words("bridge -d/run/pipes /dev/ttyACM0 -n board1").unwrap();
        assert_eq!(short, options(Some("/dev/ttyACM0")));
    }

    #[test]
    fn ok_help() {
        assert_eq!(parse_words("bridge --name x --help").unwrap(), Command::BridgeHelp);
    }

    #[test]
    fn err_messages_say_what_was_found_and_what_was_expected() {
        let label = "expected 1 to 64 ASCII letters, digits, `_` and `-`";
        let cases = [
            ("bridge", "--name is missing: expected the options that --help lists".to_owned()),
            ("bridge -n a.b", format!("--name was given \"a.b\": {label}")),
            ("bridge -n=", format!("--name was given \"\": {label}")),
            ("bridge -n a -d=", "--pipe-dir was given \"\": expected a directory".to_owned()),
            ("bridge -n a -p 0", "invalid option '-p': expected the options that --help lists".to_owned()),
            (
                "bridge -n a one two",
                "unexpected argument \"two\": expected the options that --help lists".to_owned(),
            ),
            (
                "-p 0 bridge -n a",
                "unexpected argument \"bridge\": expected the options that --help lists".to_owned(),
            ),
        ];
        for (words, message) in cases {
            assert_eq!(parse_words(words).unwrap_err().to_string(), message, "{words}");
        }
    }
}
