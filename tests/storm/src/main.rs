//! A storm over statvent: workers start, fork, are killed, stopped and continued at random while services and `cat`s read.
//!
//! Each worker keeps a ledger of what it counted; every answer has to be explained by the ledgers. Owns the command line
//! and the exit status: 0; 1 when something is not explained, or when there is no storm; 2 for a command line that is
//! not understood. Started by `bin/storm`.

#![deny(unsafe_code)]

mod answer;
mod crowd;
mod judge;
mod ledger;
mod random;
mod readers;
mod service;
mod storm;
mod worker;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lexopt::prelude::*;

use ledger::Ledger;
use storm::Options;

const USAGE: &str = "usage: storm --service PATH [--seed SEED] [SECONDS]
  --service PATH  the program statvent-web
  --seed SEED     the same choices as in the storm that said this seed; the moments differ
  SECONDS         how long, from 1 to 86400 [60]";

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1).peekable();
    if words.next_if(|word| word == "worker").is_some() {
        let words: Vec<_> = words.map(PathBuf::from).collect();
        return end(work(&words).map(|()| ExitCode::SUCCESS));
    }
    match parse(lexopt::Parser::from_args(words)) {
        Ok(Some(options)) => end(make(&options)),
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

fn end(ended: Result<ExitCode, Box<dyn Error>>) -> ExitCode {
    ended.unwrap_or_else(|err| {
        eprintln!("storm: {err}");
        ExitCode::FAILURE
    })
}

fn make(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let Options { seed, duration, .. } = options;
    eprintln!("storm: seed {seed}, {} s", duration.as_secs());
    let findings = storm::run(options)?;
    if findings.is_empty() {
        println!("storm: every answer is explained, and nothing is left (seed {seed})");
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "storm: {} things are not explained; again, with the same choices: --seed {seed}",
        findings.len()
    );
    Ok(ExitCode::FAILURE)
}

/// The words are ours: see `crowd`.
fn work(words: &[PathBuf]) -> Result<(), Box<dyn Error>> {
    let [ledger, pipe_dir, seed, id] = words else {
        return Err("a worker is started by a storm alone".into());
    };
    let number = |word: &PathBuf| word.to_str().unwrap_or_default().parse::<u64>();
    let place = worker::Place { ledger: Ledger::open(ledger)?, pipe_dir, seed: number(seed)? };
    worker::run(place, number(id)? as usize)
}

fn parse(mut parser: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (mut seed, mut seconds, mut service) = (u64::from(now.subsec_nanos()), 60, None);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("service") => service = Some(PathBuf::from(parser.value()?)),
            Long("seed") => seed = parser.value()?.parse()?,
            Short('h') | Long("help") => return Ok(None),
            Value(word) => seconds = word.parse()?,
            _ => return Err(arg.unexpected()),
        }
    }
    let service = service.ok_or("--service is missing: name the program statvent-web")?;
    if !(1..=86_400).contains(&seconds) {
        return Err("SECONDS is from 1 to 86400".into());
    }
    Ok(Some(Options { service, seed, duration: Duration::from_secs(seconds) }))
}
