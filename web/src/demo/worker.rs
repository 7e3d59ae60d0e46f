//! One process of the demo: a pretended web server, its requests and its stats.
//!
//! Owns what the demo shows of recording: counters, a gauge, a float, samples. It ends when its standard input does.
//! Called by `main` for the hidden option that `demo` starts it with.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use statvent::{Error, GLOBAL, Recorder, incr, record, set};

const TICK: Duration = Duration::from_millis(50);

/// Publishes in `pipe_dir`, says the pipe's path on standard output, and records until standard input ends.
pub(crate) fn run(pipe_dir: &Path) -> Result<(), Error> {
    let mut traffic = Traffic::new(std::process::id());
    // The first reader finds every stat there is.
    announce();
    traffic.tick();
    let recorder = Recorder::builder(&GLOBAL).directory(pipe_dir).start()?;
    // Nobody reads it only if our parent is gone, and then standard input has ended as well.
    let _ = writeln!(io::stdout(), "{}", recorder.path().display());
    let ended = end_of_stdin();
    while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
        traffic.tick();
    }
    Ok(())
}

/// Does as [`run`], and removes the directory if it is empty then: the one who made it may be gone.
pub(crate) fn run_in_temp(pipe_dir: &Path) -> Result<(), Error> {
    run(pipe_dir)?;
    // Refused to all but the last one, whose pipe is not there any more either.
    let _ = fs::remove_dir(pipe_dir);
    Ok(())
}

/// Returns a channel that closes when standard input ends, however our parent ends.
fn end_of_stdin() -> Receiver<()> {
    let (open, ended) = channel();
    thread::spawn(move || {
        let _open = open;
        let mut ignored = [0; 64];
        while matches!(io::stdin().read(&mut ignored), Ok(1..)) {}
    });
    ended
}

/// Begins every counter at zero.
fn announce() {
    incr!("demo.requests", 0);
    incr!("demo.requests[/]", 0);
    incr!("demo.requests[/search]", 0);
    incr!("demo.requests[/checkout]", 0);
    incr!("demo.bytes_sent", 0);
    incr!("demo.errors", 0);
}

/// Requests as they might come: uneven, mostly fast, sometimes failing.
struct Traffic {
    random: u64,
    temperature: f64,
}

impl Traffic {
    fn new(seed: u32) -> Self {
        Self { random: u64::from(seed) | 1, temperature: 45.0 }
    }

    fn tick(&mut self) {
        let n_requests = 1 + self.below(7);
        for _ in 0..n_requests {
            self.serve_request();
        }
        set!("demo.queue.depth", n_requests);
        self.temperature += (self.fraction() - 0.5) * 0.4;
        set!("demo.temperature_celsius", self.temperature);
    }

    fn serve_request(&mut self) {
        incr!("demo.requests");
        match self.below(10) {
            0..6 => incr!("demo.requests[/]"),
            6..9 => incr!("demo.requests[/search]"),
            _ => incr!("demo.requests[/checkout]"),
        }
        incr!("demo.bytes_sent", 500 + self.below(20_000));
        if self.below(50) == 0 {
            incr!("demo.errors");
        }
        // The product of two fractions is small mostly, and large now and then.
        record!("demo.latency_seconds.{0}", 0.002 + 0.2 * self.fraction() * self.fraction());
    }

    fn fraction(&mut self) -> f64 {
        self.below(1 << 20) as f64 / f64::from(1 << 20)
    }

    /// The next number below `limit`, from a xorshift generator: enough for a demo.
    fn below(&mut self, limit: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % limit
    }
}
