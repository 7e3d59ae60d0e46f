//! The event loop of a subcommand that runs until a signal.

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use super::error::RunError;

/// Returns an event loop, and a future that is ready at the first SIGTERM or SIGINT after this call.
pub(crate) fn runtime_and_signal() -> Result<(Runtime, impl Future<Output = ()>), RunError> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(RunError::Runtime)?;
    let entered = runtime.enter();
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Runtime)?;
    drop(entered);
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok((runtime, shutdown))
}
