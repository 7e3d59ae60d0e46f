//! The table of subcommands, its lookup, and the texts of `--help` and `--version`.
//!
//! To add a subcommand, add a file and a row in `SUBCOMMANDS`. Without a subcommand, the binary serves.

use std::ffi::OsString;
use std::io::{self, Write as _};

use super::args::{Action, Args, EarlyExit, Subcommand};
use super::bridge::BRIDGE;
use super::demo::DEMO_WORKER;
use super::error::{RunError, UsageError};
use super::serve::SERVE;

const PROGRAM: &str = "statvent-web";
const SUBCOMMANDS: &[Subcommand] = &[BRIDGE, DEMO_WORKER];

/// Parses a command line, without the program's name.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Action, UsageError> {
    let mut words = words.into_iter().peekable();
    let subcommand = match words.next_if(|word| !word.as_encoded_bytes().starts_with(b"-")) {
        None => &SERVE,
        Some(word) => match SUBCOMMANDS.iter().find(|subcommand| word == subcommand.name) {
            Some(subcommand) => subcommand,
            None => {
                let expected = visible_subcommands().map(|subcommand| subcommand.name).collect();
                return Err(UsageError::Subcommand { found: word, expected });
            }
        },
    };
    match (subcommand.parse)(Args::new(words)) {
        Ok(action) => Ok(action),
        Err(EarlyExit::Help) => Ok(print(help(subcommand))),
        Err(EarlyExit::Version) => Ok(print(format!("{PROGRAM} {}\n", env!("CARGO_PKG_VERSION")))),
        Err(EarlyExit::Usage(err)) => Err(err.of_subcommand(subcommand.name)),
    }
}

fn visible_subcommands() -> impl Iterator<Item = &'static Subcommand> {
    SUBCOMMANDS.iter().filter(|subcommand| !subcommand.usage.is_empty())
}

fn print(text: String) -> Action {
    Box::new(move || io::stdout().write_all(text.as_bytes()).map_err(RunError::Stdout))
}

fn help(subcommand: &Subcommand) -> String {
    let Subcommand { name, summary, usage, details, .. } = subcommand;
    let title = format!("{PROGRAM} {name}");
    let title = title.trim_end();
    let mut text = format!("{title}: {summary}\n\nusage: {title} {usage}\n");
    if name.is_empty() {
        for Subcommand { name, usage, .. } in visible_subcommands() {
            text += &format!("       {PROGRAM} {name} {usage}    (see {PROGRAM} {name} --help)\n");
        }
    }
    text + details
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn err_messages_say_what_was_found_and_what_was_expected() {
        let label = "expected 1 to 64 ASCII letters, digits, `_` and `-`";
        let listed = "expected the options that --help lists";
        let listed_by_bridge = "expected the options that bridge --help lists";
        let cases = [
            ("-p 70000", "--port was given \"70000\": expected a number from 0 to 65535".to_owned()),
            (
                "-i localhost",
                "--ip was given \"localhost\": expected an IP address, as in 127.0.0.1 or ::1".to_owned(),
            ),
            (
                "-l stats",
                "--path was given \"stats\": expected a path that begins with a slash, as in /stats, without white \
                 space, ? and #"
                    .to_owned(),
            ),
            (
                "--allow-uid root",
                "--allow-uid was given \"root\": expected the number of a user, as `id -u` prints it".to_owned(),
            ),
            ("-d=", "--pipe-dir was given \"\": expected a directory".to_owned()),
            (
                "--deadline 0",
                "--deadline was given \"0\": expected a time from 1ms to 60s, as in 500ms, 2s or 1".to_owned(),
            ),
            ("--demo=0", "--demo was given \"0\": expected a number of processes from 1 to 64".to_owned()),
            ("--nope", format!("invalid option '--nope': {listed}")),
            ("-p", format!("missing argument for option '-p': {listed}")),
            (
                "nonsense",
                "\"nonsense\" is no subcommand: expected bridge, or the options that --help lists".to_owned(),
            ),
            ("-p 0 bridge -n a", format!("unexpected argument \"bridge\": {listed}")),
            ("bridge", format!("--name is missing: {listed_by_bridge}")),
            ("bridge -n a.b", format!("--name was given \"a.b\": {label}")),
            ("bridge -n=", format!("--name was given \"\": {label}")),
            ("bridge -n a -d=", "--pipe-dir was given \"\": expected a directory".to_owned()),
            ("bridge -n a -p 0", format!("invalid option '-p': {listed_by_bridge}")),
            ("bridge -n a one two", format!("unexpected argument \"two\": {listed_by_bridge}")),
            ("demo-worker", "--pipe-dir is missing: expected the options that demo-worker --help lists".to_owned()),
        ];
        for (words, message) in cases {
            let Err(err) = parse(words.split_whitespace().map(OsString::from)) else { panic!("{words}") };
            assert_eq!(err.to_string(), message, "{words}");
        }
    }

    #[test]
    fn the_help_text_of_the_service_shows_every_subcommand_for_users() {
        let text = help(&SERVE);
        assert!(text.starts_with("statvent-web: "), "{text}");
        assert!(
            text.contains("\nusage: statvent-web [options]\n       statvent-web bridge --name NAME "),
            "{text}"
        );
        assert!(text.contains("(see statvent-web bridge --help)\n\n  -p, --port PORT "), "{text}");
        assert!(!text.contains(DEMO_WORKER.name), "{text}");
        let text = help(&BRIDGE);
        assert!(text.starts_with("statvent-web bridge: publishes "), "{text}");
        assert!(
            text.contains("\nusage: statvent-web bridge --name NAME [options] [INPUT]\n\nReads "),
            "{text}"
        );
    }
}
