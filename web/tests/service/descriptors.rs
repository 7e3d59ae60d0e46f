//! A service with few file descriptors: no process loses its values.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::scope;
use std::time::Duration;

use crate::support::{
    Client, LegacyWriter, Program, connect, eventually, observe_for, pipe_dir, serve_args, unlocked_name,
};

/// The process deadline; also the longest wait for a free descriptor.
const DEADLINE: Duration = Duration::from_millis(500);
/// From this limit on the service reads every process; below it there may be no descriptor for a pipe.
const AMPLE: usize = 40;
/// Long enough to tell a service that pauses from one that retries in a busy loop.
const QUIET: Duration = Duration::from_millis(600);

fn start_writers(dir: &Path) -> Vec<LegacyWriter> {
    (0..8).map(|n| LegacyWriter::start(dir, &unlocked_name(n), "hits: 1\n")).collect()
}

/// Starts the service with this descriptor limit; seven descriptors are in use already.
fn start_with_descriptors(n_descriptors: usize, dir: &Path) -> Option<(Program, Client)> {
    let mut command = Command::new("sh");
    let taken = (3..10).map(|n| format!("{n}</dev/null")).collect::<Vec<_>>().join(" ");
    let script = format!("ulimit -n {n_descriptors} && exec {taken} && exec \"$0\" \"$@\"");
    command.args(["-c", &script]).arg(Program::path()).args(serve_args(dir, DEADLINE));
    let program = Program::spawn(command.stderr(Stdio::piped()));
    // With too few to start, it prints an error and exits.
    let address = program.address().ok()?;
    Some((program, Client::new(address)))
}

/// Returns the sum of `hits`, asked on a new connection; `None` if the answer is 503.
fn ask(client: &Client) -> Option<u64> {
    let reply = Client::new(client.address()).get("/stats");
    assert!([200, 503].contains(&reply.status), "{}", reply.text);
    (reply.status == 200).then(|| reply.stat("hits").as_u64().unwrap_or(0))
}

// 1. A service has few descriptors.
// 2. More clients connect than it serves at a time, and send nothing.
// 3. No answer lacks stats of a process that an earlier answer had.
// 4. The service pauses between attempts.
// 5. The clients leave, and every process is read again.
#[test]
fn a_service_out_of_descriptors_loses_no_stat_and_recovers() {
    scope(|scope| {
        for n_descriptors in [24, 26, 28, 30, 32, AMPLE, 64] {
            scope.spawn(move || check_no_stat_is_lost(n_descriptors));
        }
    });
}

fn check_no_stat_is_lost(n_descriptors: usize) {
    let is_ample = n_descriptors >= AMPLE;
    let dir = pipe_dir();
    let _writers = start_writers(dir.path());
    let Some((program, client)) = start_with_descriptors(n_descriptors, dir.path()) else {
        return assert!(!is_ample, "{n_descriptors} descriptors: the service does not start");
    };
    if is_ample {
        eventually("every process to be read", || ask(&client) == Some(8));
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
        eventually("every process to be read again", || ask(&client) == Some(8));
    }
}

// 1. A client keeps its connection.
// 2. The service is left with next to no descriptors: none for the directory, or one pipe at a time.
// 3. Before the fix, a pipe that could not be opened counted as unreadable and its stats were missing. Now the answer is 503, or
//    it is complete.
#[test]
fn descriptors_that_run_out_later_make_no_process_unreadable() {
    let dir = pipe_dir();
    let _writers = start_writers(dir.path());
    let program = Program::serve(dir.path(), DEADLINE);
    let client = program.client();
    eventually("every process to be read", || client.get("/stats").stats_text() == r#"{"hits":8}"#);
    let n_open = program.n_descriptors();
    let (mut n_complete, mut n_unavailable) = (0, 0);
    for n_left in -2..=8 {
        program.limit_descriptors(n_open.strict_add_signed(n_left));
        for _ in 0..3 {
            let reply = client.get("/stats");
            if reply.status == 503 {
                n_unavailable += 1;
            } else {
                assert_eq!(reply.stats_text(), r#"{"hits":8}"#, "{n_left} left: {}", reply.text);
                assert_eq!(reply.counts()[3], 0, "{n_left} left: {}", reply.text);
                n_complete += 1;
            }
        }
    }
    assert!(n_complete > 0 && n_unavailable > 0, "{n_complete} complete, {n_unavailable} unavailable");
}
