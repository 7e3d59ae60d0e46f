//! An error and its causes in one line.
//!
//! Owns only how they are joined. The sentences are the errors' own.

use std::error::Error;
use std::fmt;

/// Shows an error and its causes in one line, separated by colons.
///
/// ```
/// use statvent_web::ErrorChain;
/// use statvent_web::collect::{PipeError, SnapshotError};
///
/// let err = PipeError::TooLarge(SnapshotError::TooManyStats);
/// assert_eq!(
///     ErrorChain(&err).to_string(),
///     "the snapshot is too large and none of its stats count: the process wrote more than 65536 stats: publish fewer"
/// );
/// ```
pub struct ErrorChain<'a>(pub &'a dyn Error);

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        self.0.source().map_or(Ok(()), |cause| write!(f, ": {}", ErrorChain(cause)))
    }
}
