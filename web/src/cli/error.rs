//! Errors of the command line and of the subcommands, with the sentences that the binary prints.
//!
//! Owns every error message of the binary; those of the library are its own. `stderr` prints a message and its causes.
//! Where a sentence contains its cause, `source` skips that cause, so it is not printed twice.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use statvent_posix::DirError;
use statvent_web::serve::ServeError;
use thiserror::Error;

/// Why a command line is not understood. The exit status is 2.
#[derive(Debug, Error)]
pub(crate) enum UsageError {
    /// The first word is not a subcommand.
    #[error("{found:?} is no subcommand: expected {}, or the options that --help lists", expected.join(", "))]
    Subcommand {
        /// The word.
        found: OsString,
        /// The names of the subcommands.
        expected: Vec<&'static str>,
    },
    /// The value of an option is invalid.
    #[error("{option} was given {found:?}: expected {expected}")]
    Value {
        /// The option, in its long form.
        option: &'static str,
        /// Its value.
        found: OsString,
        /// What it may be.
        expected: &'static str,
    },
    /// A required option is missing.
    #[error("{option} is missing: expected the options that {} lists", help_of(subcommand))]
    Missing {
        /// The option, in its long form.
        option: &'static str,
        /// The subcommand; empty for the service.
        subcommand: &'static str,
    },
    /// An option is unknown, a value is missing, or there is a word too many.
    #[error("{err}: expected the options that {} lists", help_of(subcommand))]
    Syntax {
        /// What is wrong.
        err: lexopt::Error,
        /// The subcommand; empty for the service.
        subcommand: &'static str,
    },
}

impl UsageError {
    /// Names the subcommand whose help text the message points to.
    pub(crate) fn of_subcommand(mut self, name: &'static str) -> Self {
        if let Self::Missing { subcommand, .. } | Self::Syntax { subcommand, .. } = &mut self {
            *subcommand = name;
        }
        self
    }
}

impl From<lexopt::Error> for UsageError {
    fn from(err: lexopt::Error) -> Self {
        Self::Syntax { err, subcommand: "" }
    }
}

fn help_of(subcommand: &str) -> String {
    format!("{subcommand} --help").trim_start().to_owned()
}

/// Why a subcommand fails. The exit status is 1.
#[derive(Debug, Error)]
pub(crate) enum RunError {
    /// The help text or the version cannot be written.
    #[error("standard output cannot be written: open it, or redirect it")]
    Stdout(#[source] io::Error),
    /// The system provides no event loop or no signal handler.
    #[error("the event loop cannot start: raise the limit of file descriptors (`ulimit -n`)")]
    Runtime(#[source] io::Error),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {err}: {}", listen_advice(err))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The error of the system.
        err: io::Error,
    },
    /// The service does not start, or its listener failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The recorder does not start.
    #[error(transparent)]
    Recorder(#[from] statvent_posix::Error),
    /// The input of a bridge cannot be opened.
    #[error("{} cannot be opened: name a file or device that this user may read", input_name(path.as_deref()))]
    OpenInput {
        /// Its path, or `None` for standard input.
        path: Option<PathBuf>,
        /// The error of the system.
        source: io::Error,
    },
    /// The input of a bridge failed while it was read.
    #[error(
        "the input cannot be read any more: check the device and start the bridge again, or let a supervisor restart it"
    )]
    ReadInput(#[source] io::Error),
    /// The pipe directory of a demo cannot be used.
    #[error(transparent)]
    DemoDirectory(#[from] DirError),
    /// The temporary directory of a demo cannot be created.
    #[error("no temporary directory for the demo: {0}: name one with --pipe-dir")]
    DemoTempDirectory(io::Error),
    /// A process of the demo cannot be started.
    #[error(
        "a process of the demo does not start: raise the limit of processes (`ulimit -u`), or start fewer"
    )]
    DemoWorkerSpawn(#[source] io::Error),
    /// A process of the demo ended before it published.
    #[error("a process of the demo ended before it published: see its message above")]
    DemoWorkerEnded,
    /// A process of the demo did not publish in time.
    #[error(
        "a process of the demo did not publish within {} s: start fewer of them, with --demo N",
        deadline.as_secs()
    )]
    DemoWorkerTimedOut {
        /// How long the demo waited.
        deadline: Duration,
    },
}

fn listen_advice(err: &io::Error) -> &'static str {
    match err.kind() {
        io::ErrorKind::AddrInUse => "stop what listens there, or choose another --port (0 picks a free one)",
        io::ErrorKind::PermissionDenied => "choose a --port from 1024 on",
        io::ErrorKind::AddrNotAvailable => "choose an --ip of this host",
        _ if err.raw_os_error() == Some(nix::libc::EMFILE) => {
            "raise the limit of file descriptors (`ulimit -n`)"
        }
        _ => "choose another --ip or --port",
    }
}

fn input_name(path: Option<&Path>) -> std::path::Display<'_> {
    path.unwrap_or(Path::new("standard input")).display()
}

#[cfg(test)]
mod tests {
    use super::*;
    use statvent_web::ErrorChain;
    use std::io::ErrorKind;

    #[test]
    fn messages_say_what_failed_why_and_what_to_do() {
        let os_error = io::Error::from_raw_os_error;
        let address = || SocketAddr::from(([127, 0, 0, 1], 80));
        let listen = |code| RunError::Listen { address: address(), err: os_error(code) };
        let cases = [
            (
                RunError::Stdout(os_error(nix::libc::EBADF)),
                "standard output cannot be written: open it, or redirect it: Bad file descriptor (os error 9)",
            ),
            (
                RunError::Runtime(os_error(nix::libc::EMFILE)),
                "the event loop cannot start: raise the limit of file descriptors (`ulimit -n`): Too many open files (os \
                 error 24)",
            ),
            (
                listen(nix::libc::EADDRINUSE),
                "cannot listen on 127.0.0.1:80: Address already in use (os error 98): stop what listens there, or choose \
                 another --port (0 picks a free one)",
            ),
            (
                listen(nix::libc::EACCES),
                "cannot listen on 127.0.0.1:80: Permission denied (os error 13): choose a --port from 1024 on",
            ),
            (
                listen(nix::libc::EADDRNOTAVAIL),
                "cannot listen on 127.0.0.1:80: Cannot assign requested address (os error 99): choose an --ip of this \
                 host",
            ),
            (
                listen(nix::libc::EMFILE),
                "cannot listen on 127.0.0.1:80: Too many open files (os error 24): raise the limit of file descriptors \
                 (`ulimit -n`)",
            ),
            (
                listen(nix::libc::EINVAL),
                "cannot listen on 127.0.0.1:80: Invalid argument (os error 22): choose another --ip or --port",
            ),
            (
                RunError::OpenInput {
                    path: Some("/dev/ttyACM0".into()),
                    source: os_error(nix::libc::ENOENT),
                },
                "/dev/ttyACM0 cannot be opened: name a file or device that this user may read: No such file or directory (os \
                 error 2)",
            ),
            (
                RunError::OpenInput { path: None, source: os_error(nix::libc::EBADF) },
                "standard input cannot be opened: name a file or device that this user may read: Bad file descriptor (os error \
                 9)",
            ),
            (
                RunError::ReadInput(os_error(nix::libc::EIO)),
                "the input cannot be read any more: check the device and start the bridge again, or let a supervisor \
                 restart it: Input/output error (os error 5)",
            ),
            (
                RunError::DemoTempDirectory(os_error(nix::libc::ENOENT)),
                "no temporary directory for the demo: No such file or directory (os error 2): name one with --pipe-dir",
            ),
            (
                RunError::DemoWorkerSpawn(os_error(nix::libc::EAGAIN)),
                "a process of the demo does not start: raise the limit of processes (`ulimit -u`), or start fewer: Resource temporarily unavailable (os error 11)",
            ),
            (
                RunError::DemoWorkerEnded,
                "a process of the demo ended before it published: see its message above",
            ),
            (
                RunError::DemoWorkerTimedOut { deadline: Duration::from_secs(60) },
                "a process of the demo did not publish within 60 s: start fewer of them, with --demo N",
            ),
        ];
        for (err, message) in cases {
            assert_eq!(ErrorChain(&err).to_string(), message);
        }
    }

    #[test]
    fn errors_of_the_libraries_are_shown_once() {
        let dir = || DirError::WritableByOthers { path: "/run/pipes".into(), mode: 0o777 };
        assert_eq!(ErrorChain(&RunError::from(dir())).to_string(), ErrorChain(&dir()).to_string());
        let serve = || ServeError::Listener(ErrorKind::InvalidInput.into());
        assert_eq!(ErrorChain(&RunError::from(serve())).to_string(), ErrorChain(&serve()).to_string());
    }
}
