//! The list of output formats, and what each of them encodes.
//!
//! Owns the content types and the common input of all formats. Pure: no scraping, no clock, no HTTP.

use std::io;

use crate::aggregate::Sum;
use crate::collect::Collection;
use crate::encode::json;

/// The format of an answer.
///
/// The limits of an answer assume that a format adds at most 5 bytes to each byte of a name and 32 bytes to each stat, as
/// JSON does: see [`MAX_ANSWER_NAME_BYTES`](crate::limits::MAX_ANSWER_NAME_BYTES).
///
/// ```
/// use statvent_web::aggregate::Sum;
/// use statvent_web::collect::Collection;
/// use statvent_web::encode::{Format, HostStats};
///
/// let mut stats = HostStats { collection: Collection::default(), sums: vec![], timestamp_seconds: 1.5 };
/// stats.sums.push((b"hits", Sum::Int(3)));
/// assert!(Format::Json.encode(&stats)?.starts_with(br#"{"stats":{"hits":3},"timestamp":1.5,"#));
/// assert_eq!(Format::Json.content_type(), "application/json");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Format {
    /// The sums as JSON: see [`json`].
    Json,
}

/// The stats of a host at one moment, the input of all formats: a collection, its sums and the time.
#[derive(Debug)]
pub struct HostStats<'a> {
    /// The snapshots by the names of their pipes, and the counts of processes by status.
    pub collection: Collection<'a>,
    /// The sums of all snapshots, sorted by the bytes of their names.
    pub sums: Vec<(&'a [u8], Sum)>,
    /// The time of the scrape, in seconds since 1970.
    pub timestamp_seconds: f64,
}

impl Format {
    /// Returns the value of the header `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => json::CONTENT_TYPE,
        }
    }

    /// Returns the body.
    ///
    /// # Errors
    /// No case is known. The error is passed on, so that the service answers with a failure instead of a panic.
    pub fn encode(self, stats: &HostStats<'_>) -> io::Result<Vec<u8>> {
        let HostStats { collection, sums, timestamp_seconds } = stats;
        match self {
            Self::Json => Ok(json::encode_json(sums, *timestamp_seconds, &collection.counts)?),
        }
    }
}
