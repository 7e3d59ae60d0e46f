//! The recorder that a process starts once and keeps.
//!
//! Owns that one recorder; it ends with the process (see `exit`). Called by the facade's `start_recorder`.

use crate::dir::PipeDir;
use crate::error::Error;
use crate::handle::Recorder;
use statvent_core::Reader;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

static STARTED: Mutex<Option<Recorder>> = Mutex::new(None);

/// Publishes a registry until the process ends, in `directory` or else in
/// [`PipeDir::default_path`].
///
/// The first call that succeeds decides. Later ones are `Ok` and change nothing: another registry or directory given to
/// them is ignored. A call that fails may be repeated.
///
/// # Errors
/// See [`Error`]; [`Error::Forked`] in a child that was forked after the first call.
pub fn start_once(registry: impl Into<Reader<'static>>, directory: Option<&Path>) -> Result<(), Error> {
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    match &*started {
        Some(recorder) if recorder.is_ours() => {}
        Some(_) => return Err(Error::Forked),
        None => {
            let directory = directory.map_or_else(PipeDir::default_path, Path::to_owned);
            *started = Some(Recorder::builder(registry).directory(directory).start()?);
        }
    }
    Ok(())
}
