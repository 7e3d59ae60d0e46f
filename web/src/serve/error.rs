//! Errors of the service and of its HTTP responses.
//!
//! Owns every sentence that the service sends to a client or returns at start. Status codes are in `routes`.

use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use crate::collect::CollectError;

/// Why a service does not start, or stops serving.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// The pipe directory cannot be used.
    Directory(CollectError),
    /// The system provides no thread or no descriptor for the collector.
    Collector(io::Error),
    /// The listener cannot be used.
    Listener(io::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(err) => err.fmt(f),
            Self::Collector(_) => f.write_str("the collector cannot start: raise the limits of this user"),
            Self::Listener(_) => f.write_str("the listener cannot be used: expected a bound TCP socket"),
        }
    }
}

impl core::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Directory(err) => err.source(),
            Self::Collector(err) | Self::Listener(err) => Some(err),
        }
    }
}

/// Why a request gets no stats.
#[derive(Debug)]
pub(super) enum RequestError {
    /// The `Host` header is missing, malformed or foreign.
    Host(HostError),
    /// The path is not the path of the stats.
    NotFound {
        /// The path of the stats.
        stats_path: String,
    },
    /// The method is neither GET nor HEAD.
    MethodNotAllowed {
        /// The methods that are allowed.
        allowed: &'static str,
    },
    /// The collector gave no answer.
    Answer(Arc<AnswerError>),
    /// The code that handles the request panicked.
    Panicked(Panicked),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(err) => err.fmt(f),
            Self::NotFound { stats_path } => {
                write!(f, "there is nothing at this path: the stats are at {stats_path}")
            }
            Self::MethodNotAllowed { allowed } => {
                write!(f, "the stats can only be read: use one of {allowed}")
            }
            Self::Answer(err) => err.fmt(f),
            Self::Panicked(err) => err.fmt(f),
        }
    }
}

// Every sentence includes its cause: a client receives one text.
impl core::error::Error for RequestError {}

impl From<HostError> for RequestError {
    fn from(err: HostError) -> Self {
        Self::Host(err)
    }
}

impl From<Arc<AnswerError>> for RequestError {
    fn from(err: Arc<AnswerError>) -> Self {
        Self::Answer(err)
    }
}

/// Why the `Host` header of a request is refused.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum HostError {
    /// HTTP/1.1 requires a `Host` header.
    Missing,
    /// There are several `Host` headers, or the value is not a host.
    Malformed,
    /// The host is not a loopback name, and the service listens on loopback.
    Foreign {
        /// The host that the request names.
        found: String,
    },
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("the request has no \"Host\" header: HTTP/1.1 requires one"),
            Self::Malformed => {
                f.write_str("the \"Host\" header is malformed: send one host, with or without a port")
            }
            Self::Foreign { found } => write!(
                f,
                "the request is for host {found:?}, expected localhost or a loopback address: use one of them, or \
                 serve on another address with --ip"
            ),
        }
    }
}

impl core::error::Error for HostError {}

/// Why the collector gives no answer.
#[derive(Debug)]
pub(super) enum AnswerError {
    /// The scrape failed.
    Collect(CollectError),
    /// The sums cannot be encoded.
    Encode(io::Error),
    /// Scrapes take too long, or clients receive their answers too slowly.
    TimedOut {
        /// How long the request waited.
        timeout: Duration,
    },
    /// The scrape panicked.
    Panicked(Panicked),
    /// The collector's thread has ended.
    Ended,
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Collect(err) => write!(f, "nothing was collected: {err}"),
            Self::Encode(err) => {
                write!(f, "the sums cannot be encoded: {err}: report this to the makers of statvent-web")
            }
            Self::TimedOut { timeout } => {
                write!(f, "no answer within {} s: find out what keeps the pipes busy", timeout.as_secs())
            }
            Self::Panicked(err) => err.fmt(f),
            Self::Ended => f.write_str("the collector has ended: restart the service"),
        }
    }
}

// Every sentence includes its cause: a client receives one text.
impl core::error::Error for AnswerError {}

/// A part of the service panicked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Panicked {
    /// The number of panics since the service started, with this one.
    pub(super) n_panics: u64,
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a part of the service failed (failure {} since its start): report this to the makers of statvent-web, with \
             the panic message on standard error",
            self.n_panics
        )
    }
}

impl core::error::Error for Panicked {}

#[cfg(test)]
mod tests {
    use super::*;
    use statvent_posix::DirError;
    use std::io::ErrorKind;

    use crate::limits::ANSWER_TIMEOUT;

    fn writable_dir() -> DirError {
        DirError::WritableByOthers { path: "/run/pipes".into(), mode: 0o777 }
    }

    #[test]
    fn start_messages_say_what_failed_and_what_to_do() {
        let directory = ServeError::Directory(CollectError::Directory(writable_dir()));
        assert_eq!(directory.to_string(), writable_dir().to_string());
        assert_eq!(
            ServeError::Collector(ErrorKind::OutOfMemory.into()).to_string(),
            "the collector cannot start: raise the limits of this user"
        );
        assert_eq!(
            ServeError::Listener(ErrorKind::InvalidInput.into()).to_string(),
            "the listener cannot be used: expected a bound TCP socket"
        );
    }

    #[test]
    fn response_messages_say_what_was_found_and_what_to_do() {
        let cases: [(RequestError, &str); 9] = [
            (
                HostError::Foreign { found: "evil.example".to_owned() }.into(),
                "the request is for host \"evil.example\", expected localhost or a loopback address: use one of them, \
                 or serve on another address with --ip",
            ),
            (HostError::Missing.into(), "the request has no \"Host\" header: HTTP/1.1 requires one"),
            (
                HostError::Malformed.into(),
                "the \"Host\" header is malformed: send one host, with or without a port",
            ),
            (
                RequestError::NotFound { stats_path: "/stats".to_owned() },
                "there is nothing at this path: the stats are at /stats",
            ),
            (
                RequestError::MethodNotAllowed { allowed: "GET, HEAD" },
                "the stats can only be read: use one of GET, HEAD",
            ),
            (
                Arc::new(AnswerError::Encode(io::Error::other("why"))).into(),
                "the sums cannot be encoded: why: report this to the makers of statvent-web",
            ),
            (
                Arc::new(AnswerError::TimedOut { timeout: ANSWER_TIMEOUT }).into(),
                "no answer within 60 s: find out what keeps the pipes busy",
            ),
            (Arc::new(AnswerError::Ended).into(), "the collector has ended: restart the service"),
            (
                RequestError::Panicked(Panicked { n_panics: 3 }),
                "a part of the service failed (failure 3 since its start): report this to the makers of statvent-web, \
                 with the panic message on standard error",
            ),
        ];
        for (err, message) in cases {
            assert_eq!(err.to_string(), message);
        }
        let panicked = Panicked { n_panics: 3 };
        assert_eq!(AnswerError::Panicked(panicked).to_string(), panicked.to_string());
        assert_eq!(
            AnswerError::Collect(CollectError::Directory(writable_dir())).to_string(),
            format!("nothing was collected: {}", writable_dir())
        );
    }
}
