//! Two services, two `cat`s and ten clients at once: every answer is exact and in time, and no process is lost.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{park_timeout, scope};
use std::time::{Duration, Instant};

use statvent_core::Registry;
use statvent_posix::Recorder;

use crate::support::{Client, Program, pipe_dir};

/// Short, for it is run with every change; `bin/storm` does the like for longer.
const TIME: Duration = Duration::from_secs(4);
const DEADLINE: Duration = Duration::from_secs(5);
/// `cat` waits for ever where it opens a pipe at the wrong moment.
const CAT_PATIENCE: Duration = Duration::from_millis(200);

static STATS: [Registry<8192, 1, 262_144>; 6] = [const { Registry::new() }; 6];

fn cat(path: &Path) {
    let mut cat = Command::new("cat").arg(path).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + CAT_PATIENCE;
    while cat.try_wait().unwrap().is_none() {
        if Instant::now() >= until {
            cat.kill().unwrap();
        }
        park_timeout(Duration::from_millis(1));
    }
}

#[test]
fn every_answer_is_exact_and_in_time_whoever_reads_beside() {
    let dir = pipe_dir();
    for (n, stats) in (1..).zip(&STATS) {
        stats.incr("hits", n);
        stats.set("ratio", 0.5);
    }
    // One whose snapshot is larger than a pipe.
    (0..5000).for_each(|n| STATS[0].incr(format!("a.rather.long.name.of.a.stat.{n}"), n));
    let recorders: Vec<_> =
        STATS.iter().map(|stats| Recorder::builder(stats).directory(dir.path()).start().unwrap()).collect();
    let deadline = format!("{}s", DEADLINE.as_secs());
    let args = ["-p", "0", "--deadline", &deadline, "-d", dir.path().to_str().unwrap()];
    let services = [Program::start(args), Program::start(args)];
    let clients = services.each_ref().map(Program::client);
    // What each process has is known once it was read alone.
    let expected =
        clients.each_ref().map(|client| client.get("/stats")).map(|reply| reply.stats_text().to_owned());
    assert!(
        expected[0] == expected[1] && expected[0].contains(r#""hits":21,"ratio":3.0}"#),
        "{}",
        expected[0]
    );

    let (stop, n_answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    let until = Instant::now() + TIME;
    scope(|scope| {
        for recorder in &recorders[..2] {
            let path = recorder.path();
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    cat(&path);
                }
            });
        }
        let asking: Vec<_> = (0..10)
            .map(|n| {
                // A client of its own, with a connection of its own.
                let client = Client::new(clients[n % 2].address());
                let (expected, n_answers) = (&expected[0], &n_answers);
                scope.spawn(move || {
                    while Instant::now() < until {
                        let asked_at = Instant::now();
                        let reply = client.get("/stats");
                        assert!(asked_at.elapsed() < DEADLINE, "{:?}", asked_at.elapsed());
                        assert_eq!(reply.counts(), [6, 0, 0, 0, 0]);
                        assert!(reply.stats_text() == expected, "{} bytes", reply.text.len());
                        n_answers.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        let ended: Vec<_> = asking.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        stop.store(true, Ordering::SeqCst);
        ended.into_iter().for_each(|ended| ended.unwrap());
    });
    assert!(n_answers.load(Ordering::SeqCst) >= 20, "{n_answers:?}");
    assert!(recorders.iter().all(|recorder| recorder.path().exists()));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 6);
}
