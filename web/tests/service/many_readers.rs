//! Two services, two `cat`s and ten clients at once: every answer is exact, and no process is lost.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{park_timeout, scope};
use std::time::{Duration, Instant};

use statvent_core::Registry;
use statvent_posix::Recorder;

use crate::support::{Client, PATIENT, Program, eventually, pipe_dir};

/// Short, for it is run with every change; `.ci/run` runs it for longer.
const TIME: Duration = Duration::from_secs(3);
/// The number of seconds that it takes instead.
const TIME_VARIABLE: &str = "STATVENT_TEST_SECONDS";
/// So many answers there are at least, however long they take.
const MIN_ANSWERS: usize = 20;
/// `cat` waits for ever where it opens a pipe at the wrong moment.
const CAT_PATIENCE: Duration = Duration::from_millis(200);

static STATS: [Registry<8192, 1, 262_144>; 6] = [const { Registry::new() }; 6];

/// How often all processes have counted: at least so often as that has ended, at most as often as it has begun.
struct Counted {
    n_begun: AtomicU64,
    n_ended: AtomicU64,
}

static COUNTED: Counted = Counted { n_begun: AtomicU64::new(0), n_ended: AtomicU64::new(0) };

impl Counted {
    fn begin(&self) {
        self.n_begun.fetch_add(1, Ordering::SeqCst);
    }

    fn end(&self) {
        self.n_ended.fetch_add(1, Ordering::SeqCst);
    }

    fn begun(&self) -> u64 {
        self.n_begun.load(Ordering::SeqCst)
    }

    fn ended(&self) -> u64 {
        self.n_ended.load(Ordering::SeqCst)
    }
}

/// How long to ask.
fn time() -> Duration {
    let seconds = std::env::var(TIME_VARIABLE).ok();
    seconds.map_or(TIME, |seconds| Duration::from_secs(seconds.parse().unwrap()))
}

fn long_name(n: u64) -> String {
    format!("a.rather.long.name.of.a.stat.{n}")
}

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
fn every_answer_is_exact_whoever_reads_beside() {
    let dir = pipe_dir();
    for (n, stats) in (1..).zip(&STATS) {
        stats.incr("hits", n);
        stats.set("ratio", 0.5);
        stats.incr("grows", 0);
    }
    // One whose snapshot is larger than a pipe.
    (0..5000).for_each(|n| STATS[0].incr(long_name(n), n));
    let recorders: Vec<_> =
        STATS.iter().map(|stats| Recorder::builder(stats).directory(dir.path()).start().unwrap()).collect();
    let time = time();
    let services = [(); 2].map(|()| Program::serve(dir.path(), PATIENT));
    let clients = services.each_ref().map(Program::client);
    // What each process has is known once it was read alone.
    clients.iter().for_each(|client| assert_eq!(client.get("/stats").counts(), [6, 0, 0, 0, 0]));
    let (stop, n_answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    let until = Instant::now() + time;
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
        // Each process counts on all the time.
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                COUNTED.begin();
                STATS.iter().for_each(|stats| stats.incr("grows", 1));
                COUNTED.end();
                park_timeout(Duration::from_micros(100));
            }
        });
        let asking: Vec<_> = (0..10)
            .map(|n| {
                // A client of its own, with a connection of its own.
                let client = Client::new(clients[n % 2].address());
                let n_answers = &n_answers;
                scope.spawn(move || {
                    let mut last = 0;
                    while Instant::now() < until || n_answers.load(Ordering::SeqCst) < MIN_ANSWERS {
                        let at_least = COUNTED.ended();
                        let reply = client.get("/stats");
                        let at_most = COUNTED.begun();
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
        let ended: Vec<_> = asking.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        stop.store(true, Ordering::SeqCst);
        ended.into_iter().for_each(|ended| ended.unwrap());
    });
    println!("{n_answers:?} answers in {time:?}");
    assert!(recorders.iter().all(|recorder| recorder.path().exists()));
    eventually("the pipes alone", || std::fs::read_dir(dir.path()).unwrap().count() == 6);
}
