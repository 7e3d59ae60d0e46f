//! The command line: options, their defaults, the help text.
//!
//! Owns what the words on the command line mean. It reads no environment, prints nothing and does nothing. Called by
//! `main`.

use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::*;

use crate::bridge;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
statvent-web: sums the stats of every process of this host and serves them as JSON

usage: statvent-web [options]
       statvent-web bridge --name NAME [options] [INPUT]    (see statvent-web bridge --help)

  -p, --port PORT       port to serve on; 0 picks a free one [7828]
  -i, --ip ADDRESS      address to serve on [127.0.0.1]
  -l, --path PATH       path of the stats [/stats]
  -d, --pipe-dir DIR    directory of the pipes [$STATVENT_PIPE_DIR, or /tmp/stats-pipe]
      --allow-uid UID   read the pipes of this user alone, by number; may be given again [all users]
      --deadline TIME   how long a process may take to answer: 500ms, 2s, 1 [1s]
      --demo [N]        start N small processes with stats of their own and serve them [3]
  -h, --help            print this
  -V, --version         print the version
";

/// The option by which a process of the demo is started; not for users.
pub(crate) const DEMO_WORKER: &str = "demo-worker";

/// The same for one whose directory was made for the demo alone.
pub(crate) const DEMO_WORKER_IN_TEMP: &str = "demo-worker-in-temp";

const DEFAULT_DEMO_WORKERS: u16 = 3;
const MAX_DEMO_WORKERS: u16 = 64;
const LONGEST_DEADLINE: Duration = Duration::from_secs(60);

/// What to do.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Command {
    /// Serve.
    Serve(Options),
    /// Be one process of a demo that publishes in the directory.
    DemoWorker(PathBuf),
    /// The same in a directory that goes with the demo.
    DemoWorkerInTemp(PathBuf),
    /// Publish what a board prints.
    Bridge(bridge::Options),
    /// Print the help text.
    Help,
    /// Print the bridge's help text.
    BridgeHelp,
    /// Print the version.
    Version,
}

/// What to serve, and where.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Options {
    /// The address to serve on.
    pub(crate) ip: IpAddr,
    /// The port to serve on; 0 for a free one.
    pub(crate) port: u16,
    /// The path of the stats.
    pub(crate) stats_path: String,
    /// The directory of the pipes, if it is given.
    pub(crate) pipe_dir: Option<PathBuf>,
    /// The users whose pipes are read; all users if there is none.
    pub(crate) allowed_uids: Vec<u32>,
    /// How long a process may take to answer.
    pub(crate) deadline: Duration,
    /// The number of processes to start.
    pub(crate) n_demo_workers: Option<u16>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ip: Ipv4Addr::LOCALHOST.into(),
            port: 7828,
            stats_path: "/stats".to_owned(),
            pipe_dir: None,
            allowed_uids: Vec::new(),
            deadline: Duration::from_secs(1),
            n_demo_workers: None,
        }
    }
}

/// Why a command line is not understood.
#[derive(Debug)]
#[non_exhaustive]
pub(crate) enum ArgsError {
    /// A word that is no option of ours, or an option without its value.
    Words(lexopt::Error),
    /// A value that is not of its option's kind.
    Value {
        /// The option.
        option: &'static str,
        /// What was given.
        found: OsString,
        /// What is taken.
        expected: &'static str,
    },
    /// An option that there is no default for.
    Missing {
        /// The option.
        option: &'static str,
    },
}

impl fmt::Display for ArgsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Words(err) => write!(f, "{err}: expected the options that --help lists"),
            Self::Value { option, found, expected } => {
                write!(f, "{option} was given {found:?}: expected {expected}")
            }
            Self::Missing { option } => {
                write!(f, "{option} is missing: expected the options that --help lists")
            }
        }
    }
}

impl core::error::Error for ArgsError {}

impl From<lexopt::Error> for ArgsError {
    fn from(err: lexopt::Error) -> Self {
        Self::Words(err)
    }
}

/// Reads a command line, without the program's name.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Command, ArgsError> {
    let mut words = words.into_iter().peekable();
    if words.next_if(|word| word == bridge::WORD).is_some() {
        return bridge::parse(words);
    }
    let mut parser = lexopt::Parser::from_args(words);
    let mut options = Options::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Short('p') | Long("port") => {
                options.port = read(&mut parser, "--port", "a number from 0 to 65535", parse_text)?;
            }
            Short('i') | Long("ip") => {
                options.ip = read(&mut parser, "--ip", "an IP address, as in 127.0.0.1 or ::1", parse_text)?;
            }
            Short('l') | Long("path") => {
                let expected = "a path that begins with a slash, as in /stats, without white space, ? and #";
                options.stats_path = read(&mut parser, "--path", expected, parse_path)?;
            }
            Short('d') | Long("pipe-dir") => {
                options.pipe_dir = Some(read(&mut parser, "--pipe-dir", "a directory", parse_dir)?);
            }
            Long("allow-uid") => {
                let expected = "the number of a user, as `id -u` prints it";
                options.allowed_uids.push(read(&mut parser, "--allow-uid", expected, parse_text)?);
            }
            Long("deadline") => {
                let expected = "a time from 1ms to 60s, as in 500ms, 2s or 1";
                options.deadline = read(&mut parser, "--deadline", expected, parse_duration)?;
            }
            Long("demo") => options.n_demo_workers = Some(read_demo(&mut parser)?),
            Long(DEMO_WORKER) => return Ok(Command::DemoWorker(parser.value()?.into())),
            Long(DEMO_WORKER_IN_TEMP) => return Ok(Command::DemoWorkerInTemp(parser.value()?.into())),
            Short('h') | Long("help") => return Ok(Command::Help),
            Short('V') | Long("version") => return Ok(Command::Version),
            _ => return Err(arg.unexpected().into()),
        }
    }
    Ok(Command::Serve(options))
}

pub(crate) fn read<T>(
    parser: &mut lexopt::Parser,
    option: &'static str,
    expected: &'static str,
    parse: impl FnOnce(&OsString) -> Option<T>,
) -> Result<T, ArgsError> {
    let found = parser.value()?;
    parse(&found).ok_or(ArgsError::Value { option, found, expected })
}

/// `--demo`, `--demo=5` and `--demo 5`; a word that follows and is no number is an option of its own.
fn read_demo(parser: &mut lexopt::Parser) -> Result<u16, ArgsError> {
    let is_number = |word: &std::ffi::OsStr| word.as_encoded_bytes().first().is_some_and(u8::is_ascii_digit);
    let given = match parser.optional_value() {
        Some(value) => Some(value),
        None => parser.try_raw_args().and_then(|mut words| words.next_if(is_number)),
    };
    let Some(found) = given else { return Ok(DEFAULT_DEMO_WORKERS) };
    let n_workers = parse_text(&found).filter(|n_workers| (1..=MAX_DEMO_WORKERS).contains(n_workers));
    let expected = "a number of processes from 1 to 64";
    n_workers.ok_or(ArgsError::Value { option: "--demo", found, expected })
}

fn parse_text<T: core::str::FromStr>(word: &OsString) -> Option<T> {
    word.to_str()?.parse().ok()
}

fn parse_path(word: &OsString) -> Option<String> {
    let path = word.to_str()?;
    let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'));
    (path.starts_with('/') && is_plain).then(|| path.to_owned())
}

pub(crate) fn parse_dir(word: &OsString) -> Option<PathBuf> {
    (!word.is_empty()).then(|| word.into())
}

/// Digits with `ms`, `s` or nothing after them, which means seconds.
fn parse_duration(word: &OsString) -> Option<Duration> {
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

    fn parse_words(words: &str) -> Result<Command, ArgsError> {
        parse(words.split_whitespace().map(OsString::from))
    }

    fn options(words: &str) -> Options {
        match parse_words(words) {
            Ok(Command::Serve(options)) => options,
            other => panic!("{words}: {other:?}"),
        }
    }

    #[test]
    fn ok_defaults_are_those_of_the_help_text() {
        let Options { ip, port, stats_path, deadline, .. } = options("");
        assert!(HELP.contains(&format!("[{port}]")));
        assert!(HELP.contains(&format!("[{ip}]")));
        assert!(HELP.contains(&format!("[{stats_path}]")));
        assert!(HELP.contains(&format!("[{deadline:?}]")));
        assert!(HELP.contains(&format!("serve them [{DEFAULT_DEMO_WORKERS}]")));
    }

    #[test]
    fn ok_long_and_short_options() {
        let expected = Options {
            ip: "::1".parse().unwrap(),
            port: 0,
            stats_path: "/all/stats".to_owned(),
            pipe_dir: Some("/run/pipes".into()),
            ..Options::default()
        };
        assert_eq!(options("-p0 -i ::1 -l /all/stats -d /run/pipes"), expected);
        assert_eq!(options("--port=0 --ip ::1 --path /all/stats --pipe-dir=/run/pipes"), expected);
    }

    #[test]
    fn ok_deadlines() {
        for (word, ms) in [("500ms", 500), ("2s", 2000), ("1", 1000), ("60s", 60_000), ("1ms", 1)] {
            assert_eq!(options(&format!("--deadline {word}")).deadline, Duration::from_millis(ms), "{word}");
        }
    }

    #[test]
    fn ok_several_users() {
        assert_eq!(options("--allow-uid 0 --allow-uid=65534").allowed_uids, [0, 65_534]);
    }

    #[test]
    fn ok_demo_with_and_without_a_number() {
        for (words, n_workers) in [("--demo", 3), ("--demo 5", 5), ("--demo=1", 1), ("--demo -p 0", 3)] {
            assert_eq!(options(words).n_demo_workers, Some(n_workers), "{words}");
        }
        assert_eq!(options("").n_demo_workers, None);
    }

    #[test]
    fn ok_help_version_and_worker() {
        assert_eq!(parse_words("-p 1 -h").unwrap(), Command::Help);
        assert_eq!(parse_words("--version").unwrap(), Command::Version);
        assert_eq!(parse_words("--demo-worker /d").unwrap(), Command::DemoWorker("/d".into()));
        let in_temp = Command::DemoWorkerInTemp("/d".into());
        assert_eq!(parse_words("--demo-worker-in-temp /d").unwrap(), in_temp);
    }

    #[test]
    fn err_messages_say_what_was_found_and_what_was_expected() {
        let cases = [
            ("-p 70000", "--port was given \"70000\": expected a number from 0 to 65535"),
            ("-i localhost", "--ip was given \"localhost\": expected an IP address, as in 127.0.0.1 or ::1"),
            (
                "-l stats",
                "--path was given \"stats\": expected a path that begins with a slash, as in /stats, without white \
                 space, ? and #",
            ),
            (
                "--allow-uid root",
                "--allow-uid was given \"root\": expected the number of a user, as `id -u` prints it",
            ),
            ("-d=", "--pipe-dir was given \"\": expected a directory"),
            (
                "--deadline 0",
                "--deadline was given \"0\": expected a time from 1ms to 60s, as in 500ms, 2s or 1",
            ),
            ("--demo=0", "--demo was given \"0\": expected a number of processes from 1 to 64"),
            ("--nope", "invalid option '--nope': expected the options that --help lists"),
            ("-p", "missing argument for option '-p': expected the options that --help lists"),
            ("extra", "unexpected argument \"extra\": expected the options that --help lists"),
        ];
        for (words, message) in cases {
            assert_eq!(parse_words(words).unwrap_err().to_string(), message, "{words}");
        }
    }

    #[test]
    fn err_values_of_the_wrong_kind() {
        for words in
            ["-l /a?b", "-l /a#", "--deadline 1m", "--deadline 61", "--deadline +1", "--demo 65", "-p -1"]
        {
            assert!(matches!(parse_words(words), Err(ArgsError::Value { .. })), "{words}");
        }
    }
}
