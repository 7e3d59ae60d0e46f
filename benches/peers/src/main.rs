//! statvent beside other metrics crates: one process, interleaved rounds, minimum and median.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml -- --help` says what can be asked for. This file only
//! parses arguments and wires: `peers` knows the crates, `measure` the rounds and their checks, `report` the output.
//!
//! # How far to trust it
//! - Every contender's stats are read back after its rounds and must say what its calls add up to; a wrong sum ends
//!   the program with 1. A gauge says what was set last; a window of samples, as ours, what the last calls were.
//! - That no loop is hoisted or folded rests on a compiler barrier in each turn (`inputs`). It was checked by counting
//!   the instructions of a call for every contender (`--count` under `valgrind --tool=callgrind
//!   --toggle-collect='*counted*'`) and reading the floors' machine code: the fewest are 3, a locked addition and the
//!   loop's two. Repeat that after a change; it once caught a count that the compiler kept in a register. A figure
//!   that no processor can reach ends the program, too.
//! - Threads are kept to a processor each and start at a spinning gate; one and two threads take turns. A round in which each of them did not run
//!   for nine tenths of the time from the first start to the last end is thrown away and shown as lost; one thread's
//!   interrupted rounds likewise. The two processors may be one core's: that makes shared lines cheaper.
//! - A call's time includes a loop of two or three instructions, mostly hidden behind the call.
//! - The machine's noise is in the medians, but it is everybody's: look at ratios of one run.

mod allocations;
mod contender;
mod inputs;
mod measure;
mod peers;
mod report;
mod statistics;
mod team;
mod text;

use std::error::Error;
use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use contender::{Contender, MEASUREMENTS, Measurement};
use measure::Plan;
use report::{Row, Table};

const HELP: &str = "\
Measures statvent beside other metrics crates.

Usage: statvent-peers [--quick] [--only WORD]
       statvent-peers --count MEASUREMENT CONTENDER CALLS

  --quick       a tenth of the time; look at the minimum then
  --only WORD   only measurements whose name contains WORD
  --count ...   only makes so many calls, for a tool that counts instructions
  -h, --help    this text

Marks in the table: > statvent, * not counted as a peer (flushed by hand), _ a floor. allocs: requests to the
allocator for one call or one text. lost: rounds thrown away because a thread was interrupted or the threads did not
run at the same time.

The last lines are for programs, all figures medians of ns a call or a value line, or allocations:
  RESULT <measurement>_<threads>t statvent=<ns> best_peer=<ns> peer=<name> floor=<ns>
  RESULT allocations_<measurement> statvent=<n> best_peer=<n> peer=<name> floor=<n>
The floor of counters and samples is a relaxed fetch_add, that of set a plain store, that of the text a copy of
names and numbers from an array.";

const FULL: Plan = Plan { n_rounds: 41, batch: Duration::from_millis(1) };
const QUICK: Plan = Plan { n_rounds: 9, batch: Duration::from_micros(400) };

enum Command {
    Help,
    Measure { plan: Plan, only: String },
    Count { measurement: String, contender: String, n_calls: u64 },
}

/// What was asked for is not there.
#[derive(Debug)]
struct NothingOfThatName(String);

impl fmt::Display for NothingOfThatName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "found nothing called {:?}, expected a name as in the tables; run without arguments to see them",
            self.0
        )
    }
}

impl Error for NothingOfThatName {}

fn main() -> ExitCode {
    match command().and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("statvent-peers: {err}");
            ExitCode::FAILURE
        }
    }
}

fn command() -> Result<Command, Box<dyn Error>> {
    let mut arguments = lexopt::Parser::from_env();
    let (mut plan, mut only) = (FULL, String::new());
    while let Some(argument) = arguments.next()? {
        match argument {
            lexopt::Arg::Long("quick") => plan = QUICK,
            lexopt::Arg::Long("only") => only = arguments.value()?.to_string_lossy().into_owned(),
            lexopt::Arg::Long("count") => {
                let [measurement, contender] =
                    [arguments.value()?, arguments.value()?].map(|name| name.to_string_lossy().into_owned());
                let n_calls = arguments.value()?.to_string_lossy().parse()?;
                return Ok(Command::Count { measurement, contender, n_calls });
            }
            lexopt::Arg::Short('h') | lexopt::Arg::Long("help") => return Ok(Command::Help),
            _ => return Err(argument.unexpected().into()),
        }
    }
    Ok(Command::Measure { plan, only })
}

fn run(command: Command) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Help => println!("{HELP}"),
        Command::Measure { plan, only } => measure_all(plan, &only)?,
        Command::Count { measurement, contender, n_calls } => count(&measurement, &contender, n_calls)?,
    }
    Ok(())
}

fn measure_all(plan: Plan, only: &str) -> Result<(), Box<dyn Error>> {
    let chosen: Vec<_> = MEASUREMENTS.into_iter().filter(|one| one.name().contains(only)).collect();
    if chosen.is_empty() {
        return Err(NothingOfThatName(only.to_owned()).into());
    }
    let mut results = Vec::new();
    for measurement in chosen {
        let (contenders, absent) = contenders(measurement);
        let timings = measure::time(measurement, &contenders, measurement.n_threads(), plan)?;
        for (n_threads, timings) in measurement.n_threads().iter().zip(timings) {
            let row = |(contender, timing)| {
                Row::new(contender, timing, measure::allocations(measurement, contender))
            };
            let rows = contenders.iter().zip(&timings).map(row).collect();
            let table = Table { measurement, n_threads: *n_threads, rows, absent: absent.clone() };
            println!("{table}");
            results.extend(table.results());
        }
    }
    results.iter().for_each(|result| println!("{result}"));
    Ok(())
}

fn count(measurement: &str, contender: &str, n_calls: u64) -> Result<(), NothingOfThatName> {
    let missing = |name: &str| NothingOfThatName(name.to_owned());
    let found = MEASUREMENTS.into_iter().find(|one| one.name() == measurement);
    let (contenders, _) = contenders(found.ok_or_else(|| missing(measurement))?);
    let contender = contenders.iter().find(|one| one.name == contender).ok_or_else(|| missing(contender))?;
    contender.run(inputs::BLOCK_CALLS);
    counted(contender, n_calls.next_multiple_of(inputs::BLOCK_CALLS));
    Ok(())
}

/// A function of its own, so that a tool can be told to look at nothing else.
#[inline(never)]
fn counted(contender: &Contender, n_calls: u64) {
    contender.run(n_calls);
}

/// Everybody who can do it, and the names of those who cannot, with the reason.
fn contenders(measurement: Measurement) -> (Vec<Contender>, Vec<(&'static str, &'static str)>) {
    let (mut present, mut absent) = (Vec::new(), Vec::new());
    for (name, offer) in peers::CRATES {
        match offer(measurement) {
            Ok(offered) => present.extend(offered),
            Err(why) => absent.push((name, why)),
        }
    }
    (present, absent)
}
