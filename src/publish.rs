//! Publishing the global registry.
//!
//! Owns the two calls that connect it with a recorder. All work is the crate `statvent-posix`'s.

use std::path::Path;

use statvent_posix::{Error, start_once};

use crate::GLOBAL;

/// Publishes the global registry until the process ends, as the pipe `<pid>.stats` in the pipe directory:
/// `$STATVENT_PIPE_DIR`, or else `/tmp/stats-pipe`.
///
/// Starts a thread that sleeps until somebody reads the pipe, and one that looks every 10 s whether the pipe can
/// still be found. However often it is called, they are started once, by the first call that succeeds; later ones
/// change nothing. A forked child has none, counts from zero, and may start its own. For more choices see [`Recorder::builder`](crate::Recorder::builder).
///
/// # Errors
/// The directory cannot be used, or no pipe or thread can be made; the message says what to do.
///
/// ```no_run
/// statvent::start_recorder()?;
/// statvent::incr!("started");
/// # Ok::<(), statvent::Error>(())
/// ```
pub fn start_recorder() -> Result<(), Error> {
    start_once(&GLOBAL, None)
}

/// As [`start_recorder`], in another directory, which is made if it is missing. If a recorder runs already, the
/// directory is ignored.
///
/// # Errors
/// As [`start_recorder`].
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
    start_once(&GLOBAL, Some(directory.as_ref()))
}
