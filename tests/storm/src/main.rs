//! A stress test with random faults: workers start, fork, stop and die while services and `cat` read.
//!
//! Each worker keeps a tally of what it counted, and the tallies must explain every response. Owns the command line and
//! the exit status: 0; 1 if a response is not explained or the storm cannot run; 2 for an invalid command line.

#![deny(unsafe_code)]

mod random;
mod readers;
mod response;
mod service;
mod storm;
mod supervisor;
mod tally;
mod verify;
mod worker;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lexopt::prelude::*;

use storm::Options;
use tally::Tallies;

const USAGE: &str = "usage: storm --service PATH [--seed SEED] [SECONDS]
  --service PATH  the program statvent-web
  --seed SEED     repeats the random choices of the storm that printed this seed; the timing differs
  SECONDS         the duration, from 1 to 86400 [60]";

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1).peekable();
    if args.next_if(|arg| arg == "worker").is_some() {
        let args: Vec<_> = args.map(PathBuf::from).collect();
        return exit_code(run_worker(&args).map(|()| ExitCode::SUCCESS));
    }
    match parse(lexopt::Parser::from_args(args)) {
        Ok(Some(options)) => exit_code(run_storm(&options)),
        Ok(None) => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        Err(err) => {
            eprintln!("storm: {err}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn exit_code(result: Result<ExitCode, Box<dyn Error>>) -> ExitCode {
    result.unwrap_or_else(|err| {
        eprintln!("storm: {err}");
        ExitCode::FAILURE
    })
}

fn run_storm(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let Options { seed, duration, .. } = options;
    eprintln!("storm: seed {seed}, {} s", duration.as_secs());
    let findings = storm::run(options)?;
    if findings.is_empty() {
        println!("storm: every response is explained and nothing is left (seed {seed})");
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("storm: {} findings; repeat with the same random choices: --seed {seed}", findings.len());
    Ok(ExitCode::FAILURE)
}

/// Runs this process as a worker. The supervisor passes the arguments.
fn run_worker(args: &[PathBuf]) -> Result<(), Box<dyn Error>> {
    let [tallies, pipe_dir, seed, id] = args else {
        return Err("only a storm starts workers: run storm without `worker`".into());
    };
    let number = |arg: &PathBuf| arg.to_str().unwrap_or_default().parse::<u64>();
    let config = worker::WorkerConfig { tallies: Tallies::open(tallies)?, pipe_dir, seed: number(seed)? };
    worker::run(config, number(id)? as usize)
}

fn parse(mut parser: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (mut seed, mut seconds, mut service) = (u64::from(now.subsec_nanos()), 60, None);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("service") => service = Some(PathBuf::from(parser.value()?)),
            Long("seed") => seed = parser.value()?.parse()?,
            Short('h') | Long("help") => return Ok(None),
            Value(value) => seconds = value.parse()?,
            _ => return Err(arg.unexpected()),
        }
    }
    let service = service.ok_or("found no --service: give the path of the program statvent-web")?;
    if !(1..=86_400).contains(&seconds) {
        return Err("found SECONDS out of range, expected 1 to 86400".into());
    }
    Ok(Some(Options { service, seed, duration: Duration::from_secs(seconds) }))
}
