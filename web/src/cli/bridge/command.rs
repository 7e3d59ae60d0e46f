//! The bridge as a subcommand: its options, and its order of start and end.
//!
//! The pipe is published once the input is open, and removed when the input ends or at a signal. `input` reads the bytes,
//! `ingest` makes stats of them.

use std::ffi::OsStr;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use lexopt::prelude::*;
use statvent_posix::Recorder;
use statvent_posix::pipe_name::Label;

use super::ingest::{BoardRegistry, LineIngest};
use super::input;
use crate::cli::args::{Action, Args, EarlyExit, Subcommand};
use crate::cli::error::{RunError, UsageError};
use crate::cli::shutdown::runtime_and_signal;
use crate::cli::stderr::log_line;

/// Its row in the table of subcommands.
pub(crate) const BRIDGE: Subcommand = Subcommand {
    name: "bridge",
    summary: "publishes what a board prints as a pipe beside those of processes",
    usage: "--name NAME [options] [INPUT]",
    details: "
Reads `name: value` lines from INPUT, a file or serial device, or from standard input, and publishes the last value of
each name as the pipe NAME.<pid>.stats until the input ends. Other lines are skipped and counted.

  -n, --name NAME       what the board is called: 1 to 64 letters, digits, _ and -
  -d, --pipe-dir DIR    directory of the pipes [$STATVENT_PIPE_DIR, or /tmp/stats-pipe]
  -h, --help            print this

The speed of a serial line is set by stty, once it is open:
  (stty 115200 clocal && exec statvent-web bridge --name board1) < /dev/ttyACM0
",
    parse: |args| BridgeOptions::parse(args).map(|options| Box::new(|| run(options)) as Action),
};

/// The stats of the board, and the bridge's counts of lines.
static BOARD: BoardRegistry = BoardRegistry::new();

/// The options of the bridge.
#[derive(Debug, Eq, PartialEq)]
struct BridgeOptions {
    /// The label of the pipe's file name.
    name: String,
    /// The pipe directory, if it was given.
    pipe_dir: Option<PathBuf>,
    /// The file or device to read; `None` for standard input.
    input: Option<PathBuf>,
}

impl BridgeOptions {
    fn parse(mut args: Args) -> Result<Self, EarlyExit> {
        let (mut name, mut pipe_dir, mut input) = (None, None, None);
        while let Some(arg) = args.next()? {
            match arg {
                Short('n') | Long("name") => {
                    let expected = "1 to 64 ASCII letters, digits, `_` and `-`";
                    name = Some(args.value("--name", expected, parse_name)?);
                }
                Short('d') | Long("pipe-dir") => pipe_dir = Some(args.pipe_dir()?),
                Value(path) if input.is_none() => input = Some(path.into()),
                _ => return Err(arg.unexpected().into()),
            }
        }
        let name = name.ok_or(UsageError::Missing { option: "--name", subcommand: BRIDGE.name })?;
        Ok(Self { name, pipe_dir, input })
    }
}

fn parse_name(word: &OsStr) -> Option<String> {
    Label::new(word.to_str()?).map(|label| label.as_str().to_owned())
}

fn run(options: BridgeOptions) -> Result<(), RunError> {
    let BridgeOptions { name, pipe_dir, input: path } = options;
    // Opening may block until a device is ready. Nothing is published yet, so a signal may simply end the process.
    let input = input::open(path.as_deref()).map_err(|source| RunError::OpenInput { path, source })?;
    // A board may have sent half a line before its serial line was opened.
    let starts_mid_line = input.is_terminal();
    let (runtime, shutdown) = runtime_and_signal()?;
    let mut ingest = LineIngest::new(&BOARD, starts_mid_line);
    let mut recorder = Recorder::builder(&BOARD).label(name);
    if let Some(pipe_dir) = pipe_dir {
        recorder = recorder.directory(pipe_dir);
    }
    // Dropping the recorder removes its pipe.
    let recorder = recorder.start()?;
    let reading = runtime.spawn_blocking(move || input::read_all(input, |chunk| ingest.feed(chunk)));
    log_line(format_args!("publishing {}", recorder.path().display()));
    let ended = runtime.block_on(async {
        tokio::select! {
            () = shutdown => Ok(()),
            ended = reading => ended.map_err(io::Error::from).flatten(),
        }
    });
    // Do not wait for the reading thread: it may be blocked in a read, and ends with the process.
    runtime.shutdown_background();
    ended.map_err(RunError::ReadInput)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn parse(words: &str) -> Result<BridgeOptions, EarlyExit> {
        BridgeOptions::parse(Args::new(words.split_whitespace().map(OsString::from)))
    }

    #[test]
    fn ok_options_and_input() {
        let options = |input: Option<&str>| BridgeOptions {
            name: "board1".into(),
            pipe_dir: Some("/run/pipes".into()),
            input: input.map(PathBuf::from),
        };
        assert_eq!(parse("--name board1 --pipe-dir /run/pipes").unwrap(), options(None));
        assert_eq!(parse("-d/run/pipes /dev/ttyACM0 -n board1").unwrap(), options(Some("/dev/ttyACM0")));
    }

    #[test]
    fn ok_help() {
        assert!(matches!(parse("--name x --help"), Err(EarlyExit::Help)));
    }
}
