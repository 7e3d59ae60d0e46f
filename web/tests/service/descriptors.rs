//! A service that may have few descriptors: no process loses its values for want of one.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::http_faults::{connect, is_answered_soon};
use crate::support::{Client, Legacy, Program, eventually, observe_for, pipe_dir, unlocked_name};

/// Starts the service where it may have so few descriptors, seven of which are taken already.
fn start_with_descriptors(n_descriptors: usize, dir: &Path) -> Option<(Program, Client)> {
    let mut command = Command::new("sh");
    let taken = (3..10).map(|n| format!("{n}</dev/null")).collect::<Vec<_>>().join(" ");
    let script =
        format!("ulimit -n {n_descriptors} && exec {taken} && exec \"$0\" -p 0 --deadline 200ms -d \"$1\"");
    command.args(["-c", &script]).arg(Program::path()).arg(dir);
    let program = Program::spawn(command.stderr(Stdio::piped()));
    // Where there are too few to begin with it says so and ends.
    let address = program.address().ok()?;
    Some((program, Client::new(address)))
}

// 1. A service may open few files. 2. More clients connect than that, and send nothing. 3. It does not try again all the
// time. 4. They leave. Whatever it answers from then on, no process's stats are missing: the fault is not theirs.
#[test]
fn a_service_without_descriptors_loses_no_stat_pauses_and_comes_back() {
    let dir = pipe_dir();
    let _writers: Vec<_> =
        (0..8).map(|n| Legacy::start(dir.path(), &unlocked_name(n), "hits: 1\n")).collect();
    let (mut n_started, mut n_right) = (0, 0);
    for n_descriptors in [24, 26, 28, 30, 32, 40, 64] {
        let Some((program, client)) = start_with_descriptors(n_descriptors, dir.path()) else { continue };
        n_started += 1;
        let is_right = |client: &Client| {
            let reply = client.get("/stats");
            let is_right = reply.status == 200 && reply.stats_text() == r#"{"hits":8}"#;
            assert!(is_right || reply.status == 503, "{n_descriptors} descriptors: {}", reply.text);
            is_right
        };
        // Where it has none left for a pipe it cannot know all processes; those that it knows keep their values.
        let mut before = client.get("/stats").stat("hits").as_u64().unwrap_or(0);
        let is_ample = before == 8;
        let many = connect(&client, 60, b"");
        let cpu_before = program.cpu_time();
        let begin = Instant::now();
        observe_for(Duration::from_millis(300));
        let (used, elapsed) = (program.cpu_time() - cpu_before, begin.elapsed());
        assert!(used < elapsed / 3, "{n_descriptors} descriptors: busy for {used:?} of {elapsed:?}");
        drop(many);
        for _ in 0..6 {
            // A client of its own, so that it needs a connection as well.
            let client = Client::new(client.address());
            if is_ample {
                n_right += usize::from(is_right(&client));
            } else {
                let hits = client.get("/stats").stat("hits").as_u64().unwrap_or(before);
                assert!(hits >= before, "{n_descriptors} descriptors: {hits} after {before}");
                before = hits;
            }
        }
        if is_ample {
            is_answered_soon(&client);
            eventually("all to be read again", || is_right(&client));
        }
    }
    assert!(n_started >= 4 && n_right > 0, "{n_started} started, {n_right} answers with all stats");
}

// 1. All is well, and a client keeps its connection. 2. The system has next to no descriptors left for the service: none for
// the directory, or one for a pipe at a time. 3. A pipe that could not be opened counted as unreadable, and its process's stats
// were missing from an answer. Now there is no answer, or it has all of them.
#[test]
fn a_want_of_descriptors_that_comes_later_makes_no_process_unreadable() {
    let dir = pipe_dir();
    let _writers: Vec<_> =
        (0..8).map(|n| Legacy::start(dir.path(), &unlocked_name(n), "hits: 1\n")).collect();
    let program = Program::start(["-p", "0", "--deadline", "300ms", "-d", dir.path().to_str().unwrap()]);
    let client = program.client();
    eventually("all to be read", || client.get("/stats").stats_text() == r#"{"hits":8}"#);
    let n_open = program.n_descriptors();
    let (mut n_whole, mut n_none) = (0, 0);
    for n_left in 0..=6 {
        program.limit_descriptors(n_open + n_left);
        for _ in 0..5 {
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
