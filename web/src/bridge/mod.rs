//! The bridge: a board's stats, read from a serial line or a pipe, published beside those of processes.
//!
//! Owns the order of starting and ending: the pipe is published once the input is open, and goes with the input or at a
//! signal. What the command line says is `options`', where bytes come from is `input`'s, what they become is `intake`'s.
//! Called by `main`.

mod input;
mod intake;
mod options;

use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::pin;
use std::task::Poll;
use std::{fmt, io, thread};

use statvent_posix::Recorder;
use tokio::sync::oneshot;

pub(crate) use input::Input;
use intake::{Intake, Stats};
pub(crate) use options::{HELP, Options, WORD, parse};

/// What the board said, and how much of it was no stat.
static BOARD: Stats = Stats::new();

/// Why a bridge does not start, or ends before its input does.
#[derive(Debug)]
#[non_exhaustive]
pub(crate) enum BridgeError {
    /// The input that was named cannot be opened.
    Open {
        /// Its path.
        path: PathBuf,
        /// What the system answers.
        source: io::Error,
    },
    /// The input fails.
    Read {
        /// What the system answers.
        source: io::Error,
    },
    /// The stats cannot be published.
    Publish(statvent_posix::Error),
    /// The system gives no thread.
    Thread {
        /// What the system answers.
        source: io::Error,
    },
}

impl fmt::Display for BridgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { path, .. } => {
                write!(f, "{} cannot be opened: name a file or device that we may read", path.display())
            }
            Self::Read { .. } => f.write_str(
                "the input cannot be read any more: see to the device and start the bridge again, or let a \
                 supervisor do so",
            ),
            Self::Publish(err) => err.fmt(f),
            Self::Thread { .. } => {
                f.write_str("the system refuses a thread: raise the limits of this process")
            }
        }
    }
}

impl core::error::Error for BridgeError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Open { source, .. } | Self::Read { source } | Self::Thread { source } => Some(source),
            // Its sentence is ours, so its cause is ours too.
            Self::Publish(err) => err.source(),
        }
    }
}

/// A bridge whose pipe is published. The pipe goes when it is dropped.
#[derive(Debug)]
pub(crate) struct Bridge {
    recorder: Recorder,
    ended: oneshot::Receiver<io::Result<()>>,
}

impl Bridge {
    /// Publishes, and begins to read the input.
    pub(crate) fn start(options: Options, input: Input) -> Result<Self, BridgeError> {
        let mut intake =
            if input.begins_midway() { Intake::begin_midway(&BOARD) } else { Intake::begin(&BOARD) };
        let mut recorder = Recorder::builder(&BOARD).label(options.name);
        if let Some(pipe_dir) = options.pipe_dir {
            recorder = recorder.directory(pipe_dir);
        }
        let recorder = recorder.start().map_err(BridgeError::Publish)?;
        let (end, ended) = oneshot::channel();
        // Not joined: it may wait for bytes that never come, and ends with the process then.
        thread::Builder::new()
            .name("statvent-bridge".to_owned())
            .spawn(move || end.send(input.read_all(|chunk| intake.feed(chunk))))
            .map_err(|source| BridgeError::Thread { source })?;
        Ok(Self { recorder, ended })
    }

    /// The pipe in which the board's stats are.
    pub(crate) fn pipe_path(&self) -> PathBuf {
        self.recorder.path()
    }

    /// Waits until the input ends or `shutdown` is ready, then removes the pipe.
    pub(crate) async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), BridgeError> {
        let (mut shutdown, mut ended) = (pin!(shutdown), self.ended);
        let ended = poll_fn(|cx| match shutdown.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Ok(Ok(()))),
            Poll::Pending => pin!(&mut ended).poll(cx),
        });
        // A thread that panicked has told more itself.
        let ended =
            ended.await.unwrap_or_else(|_| Err(io::Error::other("the thread that reads it panicked")));
        ended.map_err(|source| BridgeError::Read { source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_to_do() {
        let source = || io::Error::from_raw_os_error(5);
        for (err, message) in [
            (
                BridgeError::Open { path: "/dev/ttyACM0".into(), source: source() },
                "/dev/ttyACM0 cannot be opened: name a file or device that we may read",
            ),
            (
                BridgeError::Read { source: source() },
                "the input cannot be read any more: see to the device and start the bridge again, or let a \
                 supervisor do so",
            ),
            (
                BridgeError::Thread { source: source() },
                "the system refuses a thread: raise the limits of this process",
            ),
        ] {
            assert_eq!(err.to_string(), message);
            assert_eq!(core::error::Error::source(&err).unwrap().to_string(), source().to_string());
        }
    }
}
