//! A program that records stats like a small service, and publishes them.
//!
//! Run it, then read its stats from another terminal, as often as you like, with the command that it prints.

use std::error::Error;
use std::thread;
use std::time::Duration;

use statvent::{GLOBAL, Recorder, incr, record, set};

fn main() -> Result<(), Box<dyn Error>> {
    // `statvent::start_recorder()` is enough for most programs. The builder also returns the path of the pipe.
    let recorder = Recorder::builder(&GLOBAL).start()?;
    println!("cat {}", recorder.path().display());

    for round in 0u64.. {
        incr!("requests");
        incr!("bytes.sent", 200 + round % 50);
        if round % 20 == 19 {
            incr!("errors");
        }
        set!("queue.depth", round % 7);
        set!("load", (round % 100) as f64 / 100.0);
        record!("request.{0}.seconds", 0.01 + (round * 37 % 100) as f64 / 1000.0);
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
