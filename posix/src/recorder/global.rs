//! Global recorder of a process: started once, kept until the process ends.
//!
//! Owns the rule that the first successful call decides. The recorder itself is stored in `process::fork`, because a forked
//! child must not keep it; at the end of the process, `process::exit` removes its pipe.

use crate::dir::PipeDir;
use crate::error::Error;
use crate::process::fork::{GLOBAL_RECORDER, install_handlers};
use crate::recorder::handle::Recorder;
use crate::sys::lock::lock;
use statvent_core::Reader;
use std::path::Path;

/// Publishes a registry until the process ends, in `directory`, or else in [`PipeDir::default_path`].
///
/// The first successful call decides. Later calls return `Ok` and change nothing: they ignore their registry and directory. A
/// call that failed may be repeated. A forked child has no recorder, and its own first successful call decides.
///
/// # Errors
/// See [`Error`].
///
/// ```
/// use statvent_core::Registry;
///
/// static STATS: Registry<64, 8, 4096> = Registry::new();
///
/// # let temp = tempfile::tempdir()?;
/// # let directory = temp.path();
/// STATS.incr("requests", 1);
/// statvent_posix::start_global(&STATS, Some(directory))?;
///
/// let pipe = directory.join(format!("{}.stats", std::process::id()));
/// assert_eq!(std::fs::read_to_string(pipe)?, "requests: 1\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn start_global(registry: impl Into<Reader<'static>>, directory: Option<&Path>) -> Result<(), Error> {
    install_handlers();
    let mut recorder = lock(&GLOBAL_RECORDER);
    if recorder.is_none() {
        let directory = directory.map_or_else(PipeDir::default_path, Path::to_owned);
        *recorder = Some(Recorder::builder(registry).directory(directory).start()?);
    }
    Ok(())
}
