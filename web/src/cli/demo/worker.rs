//! One process of the demo: a simulated web server that records example stats.
//!
//! Shows each way of recording: counters, a gauge, a float, samples. It ends when its standard input does.

use std::fs;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use lexopt::prelude::*;
use nix::poll::{PollFd, PollFlags, poll};
use statvent_core::Registry;
use statvent_posix::Recorder;

use crate::cli::args::{Action, Args, EarlyExit, Subcommand};
use crate::cli::error::{RunError, UsageError};
use crate::cli::limits::DEMO_TICK_MS;

/// Its row in the table of subcommands. It is hidden: only the demo starts it.
pub(crate) const DEMO_WORKER: Subcommand =
    Subcommand { name: "demo-worker", summary: "one process of the demo", usage: "", details: "", parse };

/// The option that makes a process remove the directory, which was created for the demo.
pub(super) const REMOVE_DIR_OPTION: &str = "--remove-dir";

static STATS: Registry<16, 1, 256> = Registry::new();

fn parse(mut args: Args) -> Result<Action, EarlyExit> {
    let (mut pipe_dir, mut removes_dir) = (None, false);
    while let Some(arg) = args.next()? {
        match arg {
            Long("pipe-dir") => pipe_dir = Some(args.pipe_dir()?),
            Long("remove-dir") => removes_dir = true,
            _ => return Err(arg.unexpected().into()),
        }
    }
    let pipe_dir =
        pipe_dir.ok_or(UsageError::Missing { option: "--pipe-dir", subcommand: DEMO_WORKER.name })?;
    Ok(Box::new(move || run(pipe_dir, removes_dir)))
}

/// Publishes, prints the pipe's path on standard output, and records until standard input ends.
///
/// Standard input ends when the parent does, even if the parent is killed.
fn run(pipe_dir: PathBuf, removes_dir: bool) -> Result<(), RunError> {
    let mut temperature = 45.0;
    // Create every stat before the first reader can open the pipe.
    tick(&mut temperature);
    let recorder = Recorder::builder(&STATS).directory(&pipe_dir).start()?;
    // Fails only if the parent has ended, and then standard input has ended too.
    let _ = writeln!(io::stdout(), "{}", recorder.path().display());
    let stdin = io::stdin();
    let mut ended = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    while matches!(poll(&mut ended, DEMO_TICK_MS), Ok(0) | Err(nix::Error::EINTR)) {
        tick(&mut temperature);
    }
    drop(recorder);
    if removes_dir {
        // The parent may have been killed. This fails until the last process has removed its pipe.
        let _ = fs::remove_dir(pipe_dir);
    }
    Ok(())
}

/// Records a few random requests: mostly fast, sometimes failing.
fn tick(temperature: &mut f64) {
    let n_requests = fastrand::u32(1..=7);
    for _ in 0..n_requests {
        let dice = fastrand::u32(..10);
        STATS.incr("demo.requests", 1);
        STATS.incr("demo.requests[/]", u32::from(dice < 6));
        STATS.incr("demo.requests[/search]", u32::from((6..9).contains(&dice)));
        STATS.incr("demo.requests[/checkout]", u32::from(dice == 9));
        STATS.incr("demo.bytes_sent", fastrand::u32(500..20_500));
        STATS.incr("demo.errors", u32::from(fastrand::u32(..50) == 0));
        // The product of two fractions is mostly small and sometimes large.
        STATS.record("demo.latency_seconds.{0}", 0.002 + 0.2 * fastrand::f64() * fastrand::f64());
    }
    STATS.set("demo.queue.depth", n_requests);
    *temperature += (fastrand::f64() - 0.5) * 0.4;
    STATS.set("demo.temperature_celsius", *temperature);
}

#[cfg(test)]
mod tests {
    use super::*;
    use statvent_core::Value;

    #[test]
    fn every_stat_fits_and_every_request_has_one_path() {
        fastrand::seed(1);
        let mut temperature = 45.0;
        for _ in 0..1000 {
            tick(&mut temperature);
        }
        assert_eq!(STATS.rejected(), 0);
        let get = |name: &str| match STATS.get(name) {
            Some(Value::Int(int)) => int,
            other => panic!("{name}: {other:?}"),
        };
        let n_requests = ["/", "/search", "/checkout"].map(|path| get(&format!("demo.requests[{path}]")));
        assert!(n_requests.iter().all(|n| *n > 0), "{n_requests:?}");
        assert_eq!(n_requests.iter().sum::<i64>(), get("demo.requests"));
    }
}
