//! Errors of the command line and of the subcommands, with the sentences that the binary prints.
//!
//! Owns every error message of the binary; those of the library are its own. `stderr` prints a message and its causes.
//! Where a sentence contains its cause, `source` skips that cause, so it is not printed twice.

use std::error::Error;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, io};

use statvent_posix::DirError;
use statvent_web::serve::ServeError;

/// Why a command line is not understood. The exit status is 2.
#[derive(Debug)]
pub(crate) enum UsageError {
    /// The first word is not a subcommand.
    Subcommand {
        /// The word.
        found: OsString,
        /// The names of the subcommands.
        expected: Vec<&'static str>,
    },
    /// The value of an option is invalid.
    Value {
        /// The option, in its long form.
        option: &'static str,
        /// Its value.
        found: OsString,
        /// What it may be.
        expected: &'static str,
    },
    /// A required option is missing.
    Missing {
        /// The option, in its long form.
        option: &'static str,
    },
    /// An option is unknown, a value is missing, or there is a word too many.
    Syntax(lexopt::Error),
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subcommand { found, expected } => {
                let names = expected.join(", ");
                write!(f, "{found:?} is no subcommand: expected {names}, or the options that --help lists")
            }
            Self::Value { option, found, expected } => {
                write!(f, "{option} was given {found:?}: expected {expected}")
            }
            Self::Missing { option } => {
                write!(f, "{option} is missing: expected the options that --help lists")
            }
            Self::Syntax(err) => write!(f, "{err}: expected the options that --help lists"),
        }
    }
}

impl Error for UsageError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Syntax(err) => err.source(),
            _ => None,
        }
    }
}

impl From<lexopt::Error> for UsageError {
    fn from(err: lexopt::Error) -> Self {
        Self::Syntax(err)
    }
}

/// Why a subcommand fails. The exit status is 1.
#[derive(Debug)]
pub(crate) enum RunError {
    /// The help text or the version cannot be written.
    Stdout(io::Error),
    /// The system provides no event loop or no signal handler.
    Runtime(io::Error),
    /// The address cannot be listened on.
    Listen {
        /// The address.
        address: SocketAddr,
        /// The error of the system.
        err: io::Error,
    },
    /// The service does not start, or its listener failed.
    Serve(ServeError),
    /// The recorder does not start.
    Recorder(statvent_posix::Error),
    /// The input of a bridge cannot be opened.
    OpenInput {
        /// Its path, or `None` for standard input.
        path: Option<PathBuf>,
        /// The error of the system.
        err: io::Error,
    },
    /// The input of a bridge failed while it was read.
    ReadInput(io::Error),
    /// The pipe directory of a demo cannot be used.
    DemoDirectory(DirError),
    /// The temporary directory of a demo cannot be created.
    DemoTempDirectory(io::Error),
    /// A process of the demo cannot be started.
    DemoWorkerSpawn(io::Error),
    /// A process of the demo ended before it published.
    DemoWorkerEnded,
    /// A process of the demo did not publish in time.
    DemoWorkerTimedOut {
        /// How long the demo waited.
        deadline: Duration,
    },
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout(_) => f.write_str("standard output cannot be written: open it, or redirect it"),
            Self::Runtime(_) => {
                f.write_str("the event loop cannot start: raise the limit of file descriptors (`ulimit -n`)")
            }
            Self::Listen { address, err } => {
                write!(f, "cannot listen on {address}: {err}: {}", listen_advice(err.kind()))
            }
            Self::Serve(err) => err.fmt(f),
            Self::Recorder(err) => err.fmt(f),
            Self::OpenInput { path, .. } => {
                let name = path.as_deref().unwrap_or(Path::new("standard input")).display();
                write!(f, "{name} cannot be opened: name a file or device that we may read")
            }
            Self::ReadInput(_) => f.write_str(
                "the input cannot be read any more: see to the device and start the bridge again, or let a supervisor do \
                 so",
            ),
            Self::DemoDirectory(err) => err.fmt(f),
            Self::DemoTempDirectory(err) => {
                write!(f, "no temporary directory for the demo: {err}: name one with --pipe-dir")
            }
            Self::DemoWorkerSpawn(_) => f.write_str("a process of the demo does not start"),
            Self::DemoWorkerEnded => {
                f.write_str("a process of the demo ended before it published: see its message above")
            }
            Self::DemoWorkerTimedOut { deadline } => write!(
                f,
                "a process of the demo did not publish within {} s: start fewer of them, with --demo N",
                deadline.as_secs()
            ),
        }
    }
}

const fn listen_advice(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::AddrInUse => "stop what listens there, or choose another --port (0 picks a free one)",
        io::ErrorKind::PermissionDenied => "choose a --port from 1024 on",
        io::ErrorKind::AddrNotAvailable => "choose an --ip of this host",
        _ => "choose another --ip or --port",
    }
}

impl Error for RunError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Stdout(err)
            | Self::Runtime(err)
            | Self::OpenInput { err, .. }
            | Self::ReadInput(err)
            | Self::DemoWorkerSpawn(err) => Some(err),
            Self::Listen { err, .. } | Self::DemoTempDirectory(err) => err.source(),
            Self::Serve(err) => err.source(),
            Self::Recorder(err) => err.source(),
            Self::DemoDirectory(err) => err.source(),
            Self::DemoWorkerEnded | Self::DemoWorkerTimedOut { .. } => None,
        }
    }
}

impl From<ServeError> for RunError {
    fn from(err: ServeError) -> Self {
        Self::Serve(err)
    }
}

impl From<statvent_posix::Error> for RunError {
    fn from(err: statvent_posix::Error) -> Self {
        Self::Recorder(err)
    }
}

impl From<DirError> for RunError {
    fn from(err: DirError) -> Self {
        Self::DemoDirectory(err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statvent_web::collect::ErrorChain;
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
                "cannot listen on 127.0.0.1:80: Too many open files (os error 24): choose another --ip or --port",
            ),
            (
                RunError::OpenInput { path: Some("/dev/ttyACM0".into()), err: os_error(nix::libc::ENOENT) },
                "/dev/ttyACM0 cannot be opened: name a file or device that we may read: No such file or directory (os \
                 error 2)",
            ),
            (
                RunError::OpenInput { path: None, err: os_error(nix::libc::EBADF) },
                "standard input cannot be opened: name a file or device that we may read: Bad file descriptor (os error \
                 9)",
            ),
            (
                RunError::ReadInput(os_error(nix::libc::EIO)),
                "the input cannot be read any more: see to the device and start the bridge again, or let a supervisor do \
                 so: Input/output error (os error 5)",
            ),
            (
                RunError::DemoTempDirectory(os_error(nix::libc::ENOENT)),
                "no temporary directory for the demo: No such file or directory (os error 2): name one with --pipe-dir",
            ),
            (
                RunError::DemoWorkerSpawn(os_error(nix::libc::EAGAIN)),
                "a process of the demo does not start: Resource temporarily unavailable (os error 11)",
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
