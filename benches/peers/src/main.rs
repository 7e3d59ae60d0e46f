//! Benchmark of statvent and other metrics crates: one process, interleaved rounds, minimum and median.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml -- --help` prints the options. This file only parses
//! arguments and connects the modules: `peers` knows the crates, `measure` the rounds and their checks, `report` the
//! output.
//!
//! # Limits of the measurement
//! - The stats of every contender are read back after its rounds and must equal the sum of its calls. A wrong sum ends
//!   the program with 1. Of a gauge only the last value is checked, of statvent's window of samples only the last calls.
//! - A compiler barrier in each iteration keeps loops from being hoisted or folded (`inputs`). This was verified for every
//!   contender by counting the instructions of a call (`--count` under `valgrind --tool=callgrind
//!   --toggle-collect='*counted*'`) and by reading the machine code of the floors. The minimum is 3: a locked addition and
//!   two instructions of the loop. Repeat this after a change; it once found a count that the compiler kept in a register.
//!   A time that no processor can reach ends the program, too.
//! - Each thread is pinned to a processor and starts at a spin barrier. Rounds with one and with two threads alternate. A
//!   round counts only if every thread ran for nine tenths of the time from the first start to the last end; other rounds
//!   are discarded and shown as lost. The two processors may belong to one core, which makes shared cache lines cheaper.
//! - The time of a call includes a loop of two or three instructions, most of it in parallel with the call.
//! - The medians contain the noise of the machine, which is the same for all contenders: compare ratios within one run.

mod allocations;
mod contender;
mod inputs;
mod measure;
mod peers;
mod report;
mod statistics;
mod text;
mod threads;

use std::error::Error;
use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use contender::{Contender, MEASUREMENTS, Measurement};
use measure::RoundPlan;
use report::{Row, Table};

const HELP: &str = "\
Measures statvent and other metrics crates.

Usage: statvent-peers [--quick] [--only WORD]
       statvent-peers --count MEASUREMENT CONTENDER CALLS

  --quick       takes a tenth of the time; use only the minimum then
  --only WORD   only measurements whose name contains WORD
  --count ...   only makes CALLS calls, for a tool that counts instructions
  -h, --help    this text

Marks in the table: > statvent, * not counted as a peer (manual flush), _ a floor. allocs: requests to the allocator
per call or text. lost: rounds discarded because a thread was interrupted or the threads did not run at the same time.

The last lines are for programs. All numbers are medians: of ns per call or value line, or of allocations:
  RESULT <measurement>_<threads>t statvent=<ns> best_peer=<ns> peer=<name> floor=<ns>
  RESULT allocations_<measurement> statvent=<n> best_peer=<n> peer=<name> floor=<n>
The floor of counters and samples is a relaxed fetch_add, the floor of set is a plain store, the floor of the text is a
copy of names and numbers from an array.";

const FULL: RoundPlan = RoundPlan { n_rounds: 41, batch: Duration::from_millis(1) };
const QUICK: RoundPlan = RoundPlan { n_rounds: 9, batch: Duration::from_micros(400) };

enum Command {
    Help,
    Measure { plan: RoundPlan, only: String },
    Count { measurement: String, contender: String, n_calls: u64 },
}

/// No measurement or contender has this name.
#[derive(Debug)]
struct UnknownName(String);

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "found no measurement or contender {:?}, expected a name from the tables; run without arguments to see them",
            self.0
        )
    }
}

impl Error for UnknownName {}

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

fn measure_all(plan: RoundPlan, only: &str) -> Result<(), Box<dyn Error>> {
    let chosen: Vec<_> = MEASUREMENTS.into_iter().filter(|one| one.name().contains(only)).collect();
    if chosen.is_empty() {
        return Err(UnknownName(only.to_owned()).into());
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

fn count(measurement: &str, contender: &str, n_calls: u64) -> Result<(), UnknownName> {
    let missing = |name: &str| UnknownName(name.to_owned());
    let found = MEASUREMENTS.into_iter().find(|one| one.name() == measurement);
    let (contenders, _) = contenders(found.ok_or_else(|| missing(measurement))?);
    let contender = contenders.iter().find(|one| one.name == contender).ok_or_else(|| missing(contender))?;
    contender.run(inputs::BLOCK_CALLS);
    counted(contender, n_calls.next_multiple_of(inputs::BLOCK_CALLS));
    Ok(())
}

/// A separate function, so that a tool can count only what happens inside.
#[inline(never)]
fn counted(contender: &Contender, n_calls: u64) {
    contender.run(n_calls);
}

/// The contenders of a measurement, and the crates without one, each with the reason.
fn contenders(measurement: Measurement) -> (Vec<Contender>, Vec<(&'static str, &'static str)>) {
    let (mut present, mut absent) = (Vec::new(), Vec::new());
    for (name, create) in peers::CRATES {
        match create(measurement) {
            Ok(contenders) => present.extend(contenders),
            Err(reason) => absent.push((name, reason)),
        }
    }
    (present, absent)
}
