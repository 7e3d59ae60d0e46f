//! Errors of the service and of its HTTP responses.
//!
//! Owns every sentence that the service sends to a client or returns at start. Status codes are in `routes`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::collect::CollectError;

/// Why a service does not start, or stops serving.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The pipe directory cannot be used.
    #[error(transparent)]
    Directory(CollectError),
    /// The system provides no thread or no descriptor for the collector.
    #[error("the collector cannot start: raise the limits of this user")]
    Collector(#[source] io::Error),
    /// The listener cannot be used.
    #[error("the listener cannot be used: expected a bound TCP socket")]
    Listener(#[source] io::Error),
}

/// Why a request gets no stats. Every sentence includes its cause: a client receives one text.
#[derive(Debug, Error)]
pub(super) enum RequestError {
    /// The `Host` header is missing, malformed or foreign.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The path is not the path of the stats.
    #[error("there is nothing at this path: the stats are at {stats_path}")]
    NotFound {
        /// The path of the stats.
        stats_path: String,
    },
    /// The method is not one that reads.
    #[error("the stats can only be read: use one of {allowed}")]
    MethodNotAllowed {
        /// The methods that are allowed.
        allowed: &'static str,
    },
    /// The collector gave no answer.
    #[error(transparent)]
    Answer(#[from] Arc<AnswerError>),
    /// The code that handles the request panicked.
    #[error(transparent)]
    Panicked(Panicked),
}

/// Why the `Host` header of a request is refused.
#[derive(Debug, Eq, Error, PartialEq)]
pub(super) enum HostError {
    /// HTTP/1.1 requires a `Host` header.
    #[error("the request has no \"Host\" header: HTTP/1.1 requires one")]
    Missing,
    /// There are several `Host` headers, or the value is not a host.
    #[error("the \"Host\" header is malformed: send one host, with or without a port")]
    Malformed,
    /// The host is not a loopback name, and the service listens on loopback.
    #[error(
        "the request is for host {found:?}, expected localhost or a loopback address: use one of them, or serve on another \
         address with --ip"
    )]
    Foreign {
        /// The host that the request names.
        found: String,
    },
}

/// Why the collector gives no answer.
#[derive(Debug, Error)]
pub(super) enum AnswerError {
    /// The scrape failed.
    #[error("nothing was collected: {0}")]
    Collect(CollectError),
    /// The sums cannot be encoded.
    #[error("the sums cannot be encoded: {0}: report this to the makers of statvent-web")]
    Encode(io::Error),
    /// Scrapes take too long, or clients receive their answers too slowly.
    #[error("no answer within {} s: find out what keeps the pipes busy", timeout.as_secs())]
    TimedOut {
        /// How long the request waited.
        timeout: Duration,
    },
    /// The scrape panicked.
    #[error(transparent)]
    Panicked(Panicked),
    /// The collector's thread has ended.
    #[error("the collector has ended: restart the service")]
    Ended,
}

/// A part of the service panicked.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error(
    "a part of the service failed (failure {n_panics} since its start): report this to the makers of statvent-web, with the \
     panic message on standard error"
)]
pub(super) struct Panicked {
    /// The number of panics since the service started, with this one.
    pub(super) n_panics: u64,
}

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
