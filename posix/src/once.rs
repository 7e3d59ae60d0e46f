//! The recorder that a process starts once and keeps.
//!
//! Owns that one recorder; it ends with the process (see `exit`). Called by the facade's `start_recorder`.

use crate::dir::PipeDir;
use crate::error::Error;
use crate::fork;
use crate::handle::Recorder;
use crate::lock::lock;
use statvent_core::Reader;
use std::path::Path;
use std::sync::Mutex;

/// The recorder of this process. A child has none, and starts its own if it likes (see `fork`).
pub(crate) static STARTED: Mutex<Option<Recorder>> = Mutex::new(None);

/// Publishes a registry until the process ends, in `directory` or else in
/// [`PipeDir::default_path`].
///
/// The first call that succeeds decides. Later ones are `Ok` and change nothing: another registry or directory given to
/// them is ignored. A call that fails may be repeated. A forked child has no recorder, and its first call decides anew.
///
/// # Errors
/// See [`Error`].
pub fn start_once(registry: impl Into<Reader<'static>>, directory: Option<&Path>) -> Result<(), Error> {
    fork::register();
    let mut started = lock(&STARTED);
    if started.is_none() {
        let directory = directory.map_or_else(PipeDir::default_path, Path::to_owned);
        *started = Some(Recorder::builder(registry).directory(directory).start()?);
    }
    Ok(())
}
