//! A service that may have few descriptors: no process loses its values for want of one.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::scope;
use std::time::Duration;

use crate::http_faults::connect;
use crate::support::{Client, Legacy, Program, eventually, observe_for, pipe_dir, serving, unlocked_name};

/// How long the service waits for a descriptor, and for each process.
const DEADLINE: Duration = Duration::from_millis(500);
/// With so many descriptors the service reads all processes; where it has fewer it may have none for a pipe.
const AMPLE: usize = 40;
/// Enough to tell a service that waits from one that tries again all the time.
const QUIET: Duration = Duration::from_millis(600);

fn start_writers(dir: &Path) -> Vec<Legacy> {
    (0..8).map(|n| Legacy::start(dir, &unlocked_name(n), "hits: 1\n")).collect()
}

/// Starts the service where it may have so few descriptors, seven of which are taken already.
fn start_with_descriptors(n_descriptors: usize, dir: &Path) -> Option<(Program, Client)> {
    let mut command = Command::new("sh");
    let taken = (3..10).map(|n| format!("{n}</dev/null")).collect::<Vec<_>>().join(" ");
    let script = format!("ulimit -n {n_descriptors} && exec {taken} && exec \"$0\" \"$@\"");
    command.args(["-c", &script]).arg(Program::path()).args(serving(dir, DEADLINE));
    let program = Program::spawn(command.stderr(Stdio::piped()));
    // Where there are too few to begin with it says so and ends.
    let address = program.address().ok()?;
    Some((program, Client::new(address)))
}

/// The sum of a new client's answer; `None` if the service says that it has no descriptor.
fn ask(client: &Client) -> Option<u64> {
    let reply = Client::new(client.address()).get("/stats");
    assert!([200, 503].contains(&reply.status), "{}", reply.text);
    (reply.status == 200).then(|| reply.stat("hits").as_u64().unwrap_or(0))
}

// 1. A service may open few files. 2. More clients connect than it serves at a time, and say nothing. 3. Whatever it answers
// meanwhile, no process's stats are missing that were there before: the fault is not theirs. 4. It does not try again all the
// time. 5. They leave, and all is well.
#[test]
fn a_service_without_descriptors_loses_no_stat_pauses_and_comes_back() {
    scope(|scope| {
        for n_descriptors in [24, 26, 28, 30, 32, AMPLE, 64] {
            scope.spawn(move || see_no_stat_lost(n_descriptors));
        }
    });
}

fn see_no_stat_lost(n_descriptors: usize) {
    let is_ample = n_descriptors >= AMPLE;
    let dir = pipe_dir();
    let _writers = start_writers(dir.path());
    let Some((program, client)) = start_with_descriptors(n_descriptors, dir.path()) else {
        return assert!(!is_ample, "{n_descriptors} descriptors: it does not start");
    };
    if is_ample {
        eventually("all to be read", || ask(&client) == Some(8));
    }
    let mut before = ask(&client).unwrap_or(0);
    let silent = connect(&client, if is_ample { 12 } else { 0 }, b"");
    for _ in 0..6 {
        let hits = ask(&client).unwrap_or(before);
        assert!(hits >= before, "{n_descriptors} descriptors: {hits} after {before}");
        before = hits;
    }
    let cpu_before = program.cpu_time();
    observe_for(QUIET);
    let used = program.cpu_time() - cpu_before;
    assert!(used < QUIET / 3, "{n_descriptors} descriptors: busy for {used:?} of {QUIET:?}");
    drop(silent);
    if is_ample {
        eventually("all to be read again", || ask(&client) == Some(8));
    }
}

// 1. All is well, and a client keeps its connection. 2. The system has next to no descriptors left for the service: none for
// the directory, or one for a pipe at a time. 3. A pipe that could not be opened counted as unreadable, and its process's stats
// were missing from an answer. Now there is no answer, or it has all of them.
#[test]
fn a_want_of_descriptors_that_comes_later_makes_no_process_unreadable() {
    let dir = pipe_dir();
    let _writers = start_writers(dir.path());
    let program = Program::serve(dir.path(), DEADLINE);
    let client = program.client();
    eventually("all to be read", || client.get("/stats").stats_text() == r#"{"hits":8}"#);
    let n_open = program.n_descriptors();
    let (mut n_whole, mut n_none) = (0, 0);
    for n_left in -2..=8 {
        program.limit_descriptors(n_open.strict_add_signed(n_left));
        for _ in 0..3 {
            let reply = client.get("/stats");
            if reply.status == 503 {
                n_none += 1;
            } else {
                assert_eq!(reply.stats_text(), r#"{"hits":8}"#, "{n_left} left: {}", reply.text);
                assert_eq!(reply.counts()[3], 0, "{n_left} left: {}", reply.text);
                n_whole += 1;
            }
        }
    }
    assert!(n_whole > 0 && n_none > 0, "{n_whole} whole, {n_none} without stats");
}
