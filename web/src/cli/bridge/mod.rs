//! The bridge: a board's stats, read from a serial line or a pipe, published beside those of processes.
//!
//! Owns its options and the order of starting and ending: the pipe is published once the input is open, and goes with the
//! input or at a signal. Where bytes come from is `input`'s, what they become is `intake`'s.

mod input;
mod intake;

use std::error::Error;
use std::ffi::OsStr;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use lexopt::prelude::*;
use statvent_posix::Recorder;
use statvent_posix::pipe_name::Label;

use super::args::{Args, Run, Stop, Subcommand, missing};
use super::shutdown::runtime_and_signal;
use super::stderr::log_line;
use intake::{Intake, Stats};

/// The row of the table.
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
    parse: |args| Options::parse(args).map(|options| Box::new(|| run(options)) as Run),
};

/// What the board sent, and how much of it was no stat.
static BOARD: Stats = Stats::new();

/// What to publish, and where.
#[derive(Debug, Eq, PartialEq)]
struct Options {
    /// The label of the pipe's file name.
    name: String,
    /// The directory of the pipes, if it is given.
    pipe_dir: Option<PathBuf>,
    /// The file or device to read, if it is not standard input.
    input: Option<PathBuf>,
}

impl Options {
    fn parse(mut args: Args) -> Result<Self, Stop> {
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
        let name = name.ok_or_else(|| missing("--name"))?;
        Ok(Self { name, pipe_dir, input })
    }
}

fn parse_name(word: &OsStr) -> Option<String> {
    Label::new(word.to_str()?).map(|label| label.as_str().to_owned())
}

fn run(options: Options) -> Result<(), Box<dyn Error>> {
    // This may wait for a device; signals end the process meanwhile, which has published nothing yet.
    let path = options.input.as_deref();
    let input = input::open(path).map_err(|err| {
        let name = path.unwrap_or(Path::new("standard input")).display();
        format!("{name} cannot be opened: name a file or device that we may read: {err}")
    })?;
    // A serial line sends before it is opened.
    let is_midway = input.is_terminal();
    let (runtime, shutdown) = runtime_and_signal()?;
    let mut intake = Intake::new(&BOARD, is_midway);
    let mut recorder = Recorder::builder(&BOARD).label(options.name);
    if let Some(pipe_dir) = options.pipe_dir {
        recorder = recorder.directory(pipe_dir);
    }
    // Its pipe goes when it is dropped.
    let recorder = recorder.start()?;
    let reading = runtime.spawn_blocking(move || input::read_all(input, |chunk| intake.feed(chunk)));
    log_line(format_args!("publishing {}", recorder.path().display()));
    let ended = runtime.block_on(async {
        tokio::select! {
            () = shutdown => Ok(()),
            ended = reading => ended.map_err(io::Error::from).flatten(),
        }
    });
    // The thread that reads is not waited for: it may wait for bytes that never come, and ends with the process then.
    runtime.shutdown_background();
    Ok(ended.map_err(|err| {
        format!(
            "the input cannot be read any more: see to the device and start the bridge again, or let a supervisor do \
             so: {err}"
        )
    })?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn parse(words: &str) -> Result<Options, Stop> {
        Options::parse(Args::new(words.split_whitespace().map(OsString::from)))
    }

    #[test]
    fn ok_options_and_input() {
        let options = |input: Option<&str>| Options {
            name: "board1".into(),
            pipe_dir: Some("/run/pipes".into()),
            input: input.map(PathBuf::from),
        };
        assert_eq!(parse("--name board1 --pipe-dir /run/pipes").unwrap(), options(None));
        assert_eq!(parse("-d/run/pipes /dev/ttyACM0 -n board1").unwrap(), options(Some("/dev/ttyACM0")));
    }

    #[test]
    fn ok_help() {
        assert!(matches!(parse("--name x --help"), Err(Stop::Help)));
    }
}
