//! The runtime of a subcommand that runs until a signal.

use std::io;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

/// Returns a runtime, and a future that is ready at the first SIGTERM or SIGINT from now on.
pub(crate) fn runtime_and_signal() -> io::Result<(Runtime, impl Future<Output = ()>)> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    drop(entered);
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok((runtime, shutdown))
}
