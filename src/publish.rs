//! The functions that publish the global registry.
//!
//! Owns the two calls that start its recorder. The crate `statvent-posix` does the work.

use std::path::Path;

use statvent_posix::{Error, start_global};

use crate::GLOBAL;

/// Publishes the global registry until the process ends, as the pipe `<pid>.stats` in the pipe directory:
/// `$STATVENT_PIPE_DIR` or, if that is not set, `/tmp/stats-pipe`.
///
/// Starts two threads: one sleeps until a reader opens the pipe, the other checks every 10 s that the pipe still has its
/// name. The first call that succeeds starts them; later calls change nothing. A forked child has no recorder, counts
/// from zero, and may start its own. For more options see [`Recorder::builder`](crate::Recorder::builder).
///
/// # Errors
/// The directory cannot be used, or no pipe or thread can be created. The message says what to do.
///
/// ```no_run
/// statvent::start_recorder()?;
/// statvent::incr!("started");
/// # Ok::<(), statvent::Error>(())
/// ```
pub fn start_recorder() -> Result<(), Error> {
    start_global(&GLOBAL, None)
}

/// Like [`start_recorder`], but publishes in `directory`, and creates it if it is missing. If a recorder runs already,
/// the directory is ignored.
///
/// # Errors
/// Those of [`start_recorder`].
///
/// ```
/// # let temp = tempfile::tempdir()?;
/// # let directory = temp.path();
/// statvent::start_recorder_in(directory)?;
/// statvent::incr!("started");
///
/// let pipe = directory.join(format!("{}.stats", std::process::id()));
/// assert_eq!(std::fs::read_to_string(pipe)?, "started: 1\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn start_recorder_in(directory: impl AsRef<Path>) -> Result<(), Error> {
    start_global(&GLOBAL, Some(directory.as_ref()))
}
