//! Hostile writers of every kind at once: the service stays small, and the others' stats arrive.

use std::fs::File;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::spawn;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::Signal;
use serde_json::Value;
use statvent_core::Registry;
use statvent_posix::Recorder;

use crate::support::{Client, Legacy, Program, Reply, eventually, make_fifo, pipe_dir, unlocked_name};

const MAX_MEMORY_KB: u64 = 64_000;
const N_FILES: usize = 10_000;
const N_HUNG: usize = 8;
/// The time between two bytes of a writer that does not end.
const DRIP: Duration = Duration::from_millis(100);
const DEADLINE: Duration = Duration::from_secs(2);

fn lines(n_lines: usize, line: impl Fn(usize) -> String) -> Vec<u8> {
    (0..n_lines).map(line).collect::<String>().into_bytes()
}

/// Starts writers of every hostile kind, each with a pipe of its own.
fn start_hostile(dir: &Path) -> Vec<Legacy> {
    let mut writers = Vec::new();
    let mut say = |n_writers: usize, text: &dyn Fn(usize) -> Vec<u8>| {
        for n in 0..n_writers {
            let name = unlocked_name(writers.len().try_into().unwrap());
            writers.push(Legacy::start(dir, &name, text(n)));
        }
    };
    // Lines without an end, nothing but one line, and lines of 10 KB.
    say(1, &|_| b"endless: 1\n".repeat(1_000_000));
    say(1, &|_| vec![b'x'; 8 << 20]);
    say(1, &|_| lines(40, |n| format!("{n}{}: 1\n", "n".repeat(10_000))));
    // A million different names, of little processes and large ones; long ones; some that must be escaped.
    say(16, &|writer| lines(50_000, |n| format!("{writer}.{n}: 1\n")));
    say(100, &|writer| lines(2_000, |n| format!("small.{writer}.{n}: 1\n")));
    say(1, &|writer| lines(1_000, |n| format!("{writer}.{n}{}: 1\n", "n".repeat(4000))));
    say(1, &|writer| lines(1_000, |n| format!("{writer}.{n}{}: 1\n", "\u{1}\"".repeat(1900))));
    say(1, &|_| b"</script><script>alert(1)</script>: 1\n\"quoted\": 2\n".to_vec());
    // Integers of four thousand digits.
    say(1, &|writer| lines(1_000, |n| format!("digits.{writer}.{n}: {}\n", "9".repeat(4000))));
    writers
}

/// Makes pipes on which somebody has begun to write.
fn begin_to_write(dir: &Path) -> Vec<File> {
    let begin = |n: usize| {
        let path = dir.join(format!("hung-{n}.1.stats"));
        make_fifo(&path);
        let mut pipe = File::options().read(true).write(true).open(path).unwrap();
        pipe.write_all(&lines(2_000, |line| format!("hung.{n}.{line}: 1\n"))).unwrap();
        pipe
    };
    (0..N_HUNG).map(begin).collect()
}

/// A thread that goes on writing, a byte at a time, until this is dropped.
struct Dripping(Option<Sender<()>>);

impl Dripping {
    fn start(mut pipes: Vec<File>) -> Self {
        let (stop, stopped) = channel();
        spawn(move || {
            // No more than a pipe holds while nobody reads.
            for _ in 0..2000 {
                if stopped.recv_timeout(DRIP) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                pipes.iter_mut().for_each(|pipe| pipe.write_all(b"1").unwrap());
            }
        });
        Self(Some(stop))
    }
}

impl Drop for Dripping {
    fn drop(&mut self) {
        self.0 = None;
    }
}

/// Fills the directory with files, half of them with the names of pipes.
fn fill(dir: &Path) {
    for n in 0..N_FILES {
        let ending = if n % 2 == 0 { "stats" } else { "txt" };
        File::create(dir.join(format!("file.{n}.{ending}"))).unwrap();
    }
}

/// Asks until there is an answer of that kind.
fn ask(program: &Program, client: &Client, kind: &str, is_it: impl Fn(&Reply) -> bool) {
    eventually(kind, || {
        let asked_at = Instant::now();
        let reply = client.get("/stats");
        let (elapsed, kb) = (asked_at.elapsed(), program.memory_kb());
        println!("{} bytes after {elapsed:?}: {:.200}, {kb:?} kB", reply.text.len(), counts(&reply));
        // What clients do not take may leave no room for a moment.
        reply.status == 200 && is_it(&reply)
    });
}

fn counts(reply: &Reply) -> &str {
    reply.text.rsplit_once("\"processes\":").map_or(&reply.text, |(_, counts)| counts)
}

/// Connects clients that ask one after the other, and do not read what is answered.
fn deafen(client: &Client, n_clients: usize) -> Vec<TcpStream> {
    let deaf = |_| {
        let mut stream = client.connect();
        stream.write_all(b"GET /stats HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        assert_eq!(stream.peek(&mut [0]).unwrap(), 1, "waited for its answer to begin");
        stream
    };
    (0..n_clients).map(deaf).collect()
}

/// Connects clients that send most of the largest head that is taken.
fn begin_to_ask(client: &Client, n_clients: usize) -> Vec<TcpStream> {
    let begin = |_| {
        let mut stream = client.connect();
        stream.write_all(b"GET /stats HTTP/1.1\r\nX: ").unwrap();
        stream.write_all(&vec![b'x'; 15_000]).unwrap();
        stream
    };
    (0..n_clients).map(begin).collect()
}

#[test]
fn all_hostile_writers_at_once_take_less_than_64_mb_and_cost_nobody_else_a_stat() {
    static GOOD: Registry<64, 1, 4096> = Registry::new();
    let dir = pipe_dir();
    GOOD.incr("hits", 7);
    let _good = Recorder::builder(&GOOD).directory(dir.path()).start().unwrap();
    let _hostile = start_hostile(dir.path());
    let _dripping = Dripping::start(begin_to_write(dir.path()));
    fill(dir.path());
    let program = Program::serve(dir.path(), DEADLINE);
    let client = program.client();
    for _ in 0..3 {
        ask(&program, &client, "the stats of the good ones, and those of few others", |reply| {
            let [ok, _, late, unreadable, ignored] = reply.counts();
            assert_eq!(ignored, N_FILES as u64);
            let stats =
                ["hits", "</script><script>alert(1)</script>", "\"quoted\""].map(|name| reply.stat(name));
            stats == [7, 1, 2].map(Value::from) && ok > 10 && late >= N_HUNG as u64 && unreadable == 2
        });
    }
    let _clients = [deafen(&client, 2), begin_to_ask(&client, 200)];
    ask(&program, &client, "the stats beside such clients", |reply| reply.stat("hits") == 7);
    let [most, now] = program.memory_kb();
    println!("{most} kB at most, {now} kB now");
    assert!(most < MAX_MEMORY_KB, "{most} kB at most, {now} kB now");

    let expected = [
        ("hung-0.1.stats", "began to write and did not finish within the deadline"),
        (
            &*unlocked_name(1),
            "is too large and none of its stats count: the process wrote more than 4194304 bytes",
        ),
        (&*unlocked_name(2), "malformed lines skipped: 40:"),
    ];
    let n_times = |said: &[String], (name, reason): (&str, &str)| {
        let start = format!("statvent-web: {name}: ");
        said.iter().filter(|line| line.starts_with(&start) && line.contains(reason)).count()
    };
    // On a busy machine some of them are late at first.
    let mut said = Vec::new();
    eventually("each of them to be reported", || {
        let _ = client.get("/stats");
        said.extend(program.lines_so_far());
        expected.iter().all(|one| n_times(&said, *one) > 0)
    });
    program.signal(Signal::SIGTERM);
    said.extend(program.last_lines());
    for one in expected {
        assert_eq!(n_times(&said, one), 1, "{one:?}: {said:?}");
    }
    assert!(said.iter().any(|line| line.contains("stats left out: ")), "{said:?}");
}

// 1. All together say as much as is counted, in names as long as fit an answer; some hang in the middle of as much. 2. The
// answers are as large as can be, and clients do not take them. 3. Others fill all places with half a request.
#[test]
fn untaken_answers_beside_all_that_is_said_take_less_than_64_mb() {
    let dir = pipe_dir();
    let text = |writer: usize| lines(16_000, |n| format!("{writer}{}.{n}: 1\n", "x".repeat(100)));
    let _writers: Vec<_> = (0u16..9)
        .map(|n| Legacy::start(dir.path(), &unlocked_name(n), text(usize::from(n) % 5 % 4)))
        .collect();
    let _hung: Vec<_> = (0..N_HUNG)
        .map(|n| {
            let path = dir.path().join(format!("hung-{n}.1.stats"));
            make_fifo(&path);
            let mut pipe = File::options().read(true).write(true).open(path).unwrap();
            let half = lines(60_000, |line| format!("h{n}.{line}: 1\n"));
            // As much as a pipe holds for an ordinary user, or less where there are many.
            let n_bytes =
                fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(1 << 20)).map_or(4096, |_| half.len().min(1 << 20));
            pipe.write_all(&half[..n_bytes - 8]).unwrap();
            pipe
        })
        .collect();
    let program = Program::serve(dir.path(), DEADLINE);
    let client = program.client();
    for _ in 0..2 {
        let deaf = deafen(&client, 2);
        let _slow = begin_to_ask(&client, 200);
        ask(&program, &client, "the stats of some", |reply| reply.counts()[0] >= 3);
        drop(deaf);
    }
    let [most, now] = program.memory_kb();
    println!("{most} kB at most, {now} kB now");
    assert!(most < MAX_MEMORY_KB, "{most} kB at most, {now} kB now");
}
