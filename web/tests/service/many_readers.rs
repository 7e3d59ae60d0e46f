//! Concurrent readers: two services, two `cat`s and ten clients get exact answers.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{park_timeout, scope};
use std::time::{Duration, Instant};

use statvent_core::Registry;
use statvent_posix::Recorder;

use crate::support::{Client, LONG_DEADLINE, Program, eventually, pipe_dir};

/// 3 s: this runs with every change; `.ci/run` runs it for longer.
const RUN_TIME: Duration = Duration::from_secs(3);
/// The environment variable that sets the run time in seconds.
const RUN_TIME_VARIABLE: &str = "STATVENT_TEST_SECONDS";
/// The least number of answers, however long they take.
const MIN_ANSWERS: usize = 20;
/// The longest run of one `cat`: it blocks forever on a pipe that was just replaced.
const CAT_TIMEOUT: Duration = Duration::from_millis(200);

static STATS: [Registry<8192, 1, 262_144>; 6] = [const { Registry::new() }; 6];

/// The rounds of increments over all registries. A sum lies between the finished and the started rounds.
struct Rounds {
    n_started: AtomicU64,
    n_finished: AtomicU64,
}

static ROUNDS: Rounds = Rounds { n_started: AtomicU64::new(0), n_finished: AtomicU64::new(0) };

impl Rounds {
    fn start(&self) {
        self.n_started.fetch_add(1, Ordering::SeqCst);
    }

    fn finish(&self) {
        self.n_finished.fetch_add(1, Ordering::SeqCst);
    }

    fn n_started(&self) -> u64 {
        self.n_started.load(Ordering::SeqCst)
    }

    fn n_finished(&self) -> u64 {
        self.n_finished.load(Ordering::SeqCst)
    }
}

/// Returns how long the clients send requests.
fn run_time() -> Duration {
    let seconds = std::env::var(RUN_TIME_VARIABLE).ok();
    seconds.map_or(RUN_TIME, |seconds| Duration::from_secs(seconds.parse().unwrap()))
}

fn long_name(n: u64) -> String {
    format!("a.rather.long.name.of.a.stat.{n}")
}

fn cat(path: &Path) {
    let mut cat = Command::new("cat").arg(path).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + CAT_TIMEOUT;
    while cat.try_wait().unwrap().is_none() {
        if Instant::now() >= until {
            cat.kill().unwrap();
        }
        park_timeout(Duration::from_millis(1));
    }
}

#[test]
fn every_answer_is_exact_beside_other_readers() {
    let dir = pipe_dir();
    for (n, stats) in (1..).zip(&STATS) {
        stats.incr("hits", n);
        stats.set("ratio", 0.5);
        stats.incr("grows", 0);
    }
    // One snapshot is larger than a pipe.
    (0..5000).for_each(|n| STATS[0].incr(long_name(n), n));
    let recorders: Vec<_> =
        STATS.iter().map(|stats| Recorder::builder(stats).directory(dir.path()).start().unwrap()).collect();
    let run_time = run_time();
    let services = [(); 2].map(|()| Program::serve(dir.path(), LONG_DEADLINE));
    let clients = services.each_ref().map(Program::client);
    // One read without `cat` beside it: from then on the services know what each process publishes.
    clients.iter().for_each(|client| assert_eq!(client.get("/stats").counts(), [6, 0, 0, 0, 0]));
    let (stop, n_answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    let until = Instant::now() + run_time;
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
        // All registries count during the whole run.
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                ROUNDS.start();
                STATS.iter().for_each(|stats| stats.incr("grows", 1));
                ROUNDS.finish();
                park_timeout(Duration::from_micros(100));
            }
        });
        let clients: Vec<_> = (0..10)
            .map(|n| {
                // A new client, so that each has its own connection.
                let client = Client::new(clients[n % 2].address());
                let n_answers = &n_answers;
                scope.spawn(move || {
                    let mut last = 0;
                    while Instant::now() < until || n_answers.load(Ordering::SeqCst) < MIN_ANSWERS {
                        let at_least = ROUNDS.n_finished();
                        let reply = client.get("/stats");
                        let at_most = ROUNDS.n_started();
                        assert_eq!(reply.counts(), [6, 0, 0, 0, 0]);
                        let json = reply.json();
                        let stats = json["stats"].as_object().unwrap();
                        assert_eq!(
                            (stats.len(), &stats["hits"], &stats["ratio"]),
                            (5003, &21.into(), &3.0.into())
                        );
                        assert!((0..5000).step_by(499).all(|n| stats[&long_name(n)] == n));
                        let grows = stats["grows"].as_u64().unwrap();
                        assert!(
                            (6 * at_least..=6 * at_most).contains(&grows),
                            "{grows} of {at_least} to {at_most}"
                        );
                        assert!(grows >= last, "{grows} after {last}");
                        last = grows;
                        n_answers.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        let results: Vec<_> = clients.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        stop.store(true, Ordering::SeqCst);
        results.into_iter().for_each(|result| result.unwrap());
    });
    println!("{n_answers:?} answers in {run_time:?}");
    assert!(recorders.iter().all(|recorder| recorder.path().exists()));
    eventually("only the pipes to be left", || std::fs::read_dir(dir.path()).unwrap().count() == 6);
}
