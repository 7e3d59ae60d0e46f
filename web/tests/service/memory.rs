//! The 64 MB memory limit, with every kind of hostile writer and client at once.

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

use crate::support::{Client, LegacyWriter, Program, Reply, eventually, make_fifo, pipe_dir, unlocked_name};

const MAX_MEMORY_KB: u64 = 64_000;
const N_FILES: usize = 10_000;
const N_HUNG: usize = 8;
/// The time between two bytes of a writer that never finishes.
const BYTE_INTERVAL: Duration = Duration::from_millis(100);
const DEADLINE: Duration = Duration::from_secs(2);

fn lines(n_lines: usize, line: impl Fn(usize) -> String) -> Vec<u8> {
    (0..n_lines).map(line).collect::<String>().into_bytes()
}

/// Starts writers of every hostile kind, each with a pipe of its own.
fn start_hostile(dir: &Path) -> Vec<LegacyWriter> {
    let mut writers = Vec::new();
    let mut start = |n_writers: usize, text: &dyn Fn(usize) -> Vec<u8>| {
        for n in 0..n_writers {
            let name = unlocked_name(writers.len().try_into().unwrap());
            writers.push(LegacyWriter::start(dir, &name, text(n)));
        }
    };
    // Endless lines, one line without an end, and lines of 10 KB.
    start(1, &|_| b"endless: 1\n".repeat(1_000_000));
    start(1, &|_| vec![b'x'; 8 << 20]);
    start(1, &|_| lines(40, |n| format!("{n}{}: 1\n", "n".repeat(10_000))));
    // A million different names from small and large processes; long names; names that need escapes.
    start(16, &|writer| lines(50_000, |n| format!("{writer}.{n}: 1\n")));
    start(100, &|writer| lines(2_000, |n| format!("small.{writer}.{n}: 1\n")));
    start(1, &|writer| lines(1_000, |n| format!("{writer}.{n}{}: 1\n", "n".repeat(4000))));
    start(1, &|writer| lines(1_000, |n| format!("{writer}.{n}{}: 1\n", "\u{1}\"".repeat(1900))));
    start(1, &|_| b"</script><script>alert(1)</script>: 1\n\"quoted\": 2\n".to_vec());
    // Integers of 4000 digits.
    start(1, &|writer| lines(1_000, |n| format!("digits.{writer}.{n}: {}\n", "9".repeat(4000))));
    writers
}

/// Makes pipes with half a snapshot in each, and keeps them open.
fn start_hung_writers(dir: &Path) -> Vec<File> {
    let start = |n: usize| {
        let path = dir.join(format!("hung-{n}.1.stats"));
        make_fifo(&path);
        let mut pipe = File::options().read(true).write(true).open(path).unwrap();
        pipe.write_all(&lines(2_000, |line| format!("hung.{n}.{line}: 1\n"))).unwrap();
        pipe
    };
    (0..N_HUNG).map(start).collect()
}

/// A thread that writes one byte at a time until this is dropped.
struct SlowWriter(Option<Sender<()>>);

impl SlowWriter {
    fn start(mut pipes: Vec<File>) -> Self {
        let (stop, stopped) = channel();
        spawn(move || {
            // No more than fits into a pipe without a reader.
            for _ in 0..2000 {
                if stopped.recv_timeout(BYTE_INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                pipes.iter_mut().for_each(|pipe| pipe.write_all(b"1").unwrap());
            }
        });
        Self(Some(stop))
    }
}

impl Drop for SlowWriter {
    fn drop(&mut self) {
        self.0 = None;
    }
}

/// Fills the directory with files, half of them named like pipes.
fn make_files(dir: &Path) {
    for n in 0..N_FILES {
        let ending = if n % 2 == 0 { "stats" } else { "txt" };
        File::create(dir.join(format!("file.{n}.{ending}"))).unwrap();
    }
}

/// Sends requests until an answer matches.
fn ask(program: &Program, client: &Client, what: &str, is_match: impl Fn(&Reply) -> bool) {
    eventually(what, || {
        let asked_at = Instant::now();
        let reply = client.get("/stats");
        let (elapsed, kb) = (asked_at.elapsed(), program.memory_kb());
        println!("{} bytes after {elapsed:?}: {:.200}, {kb:?} kB", reply.text.len(), counts(&reply));
        // Unread answers may exhaust the memory budget for a moment: 503.
        reply.status == 200 && is_match(&reply)
    });
}

fn counts(reply: &Reply) -> &str {
    reply.text.rsplit_once("\"processes\":").map_or(&reply.text, |(_, counts)| counts)
}

/// Connects clients that ask one after the other, and do not read their answers.
fn connect_without_reading(client: &Client, n_clients: usize) -> Vec<TcpStream> {
    let connect = |_| {
        let mut stream = client.connect();
        stream.write_all(b"GET /stats HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        assert_eq!(stream.peek(&mut [0]).unwrap(), 1, "waited for the first byte of the answer");
        stream
    };
    (0..n_clients).map(connect).collect()
}

/// Connects clients that send most of the largest accepted request head, and no more.
fn connect_with_half_a_head(client: &Client, n_clients: usize) -> Vec<TcpStream> {
    let connect = |_| {
        let mut stream = client.connect();
        stream.write_all(b"GET /stats HTTP/1.1\r\nX: ").unwrap();
        stream.write_all(&vec![b'x'; 15_000]).unwrap();
        stream
    };
    (0..n_clients).map(connect).collect()
}

#[test]
fn all_hostile_writers_at_once_take_less_than_64_mb_and_cost_no_other_stat() {
    static GOOD: Registry<64, 1, 4096> = Registry::new();
    let dir = pipe_dir();
    GOOD.incr("hits", 7);
    let _good = Recorder::builder(&GOOD).directory(dir.path()).start().unwrap();
    let _hostile = start_hostile(dir.path());
    let _slow_writer = SlowWriter::start(start_hung_writers(dir.path()));
    make_files(dir.path());
    let program = Program::serve(dir.path(), DEADLINE);
    let client = program.client();
    for _ in 0..3 {
        ask(&program, &client, "the stats of the well-behaved processes, and of some others", |reply| {
            let [ok, _, late, unreadable, ignored] = reply.counts();
            assert_eq!(ignored, N_FILES as u64);
            let stats =
                ["hits", "</script><script>alert(1)</script>", "\"quoted\""].map(|name| reply.stat(name));
            stats == [7, 1, 2].map(Value::from) && ok > 10 && late >= N_HUNG as u64 && unreadable == 2
        });
    }
    let _clients = [connect_without_reading(&client, 2), connect_with_half_a_head(&client, 200)];
    ask(&program, &client, "the stats beside hostile clients", |reply| reply.stat("hits") == 7);
    let [peak, now] = program.memory_kb();
    println!("{peak} kB at the peak, {now} kB now");
    assert!(peak < MAX_MEMORY_KB, "{peak} kB at the peak, {now} kB now");

    let expected = [
        ("hung-0.1.stats", "began to write and did not finish within the deadline"),
        (
            &*unlocked_name(1),
            "is too large and none of its stats count: the process wrote more than 4194304 bytes",
        ),
        (&*unlocked_name(2), "malformed lines skipped: 40:"),
    ];
    let n_times = |log: &[String], (name, reason): (&str, &str)| {
        let start = format!("statvent-web: {name}: ");
        log.iter().filter(|line| line.starts_with(&start) && line.contains(reason)).count()
    };
    // On a busy machine some of them are silent at first.
    let mut log = Vec::new();
    eventually("each hostile writer to be reported", || {
        let _ = client.get("/stats");
        log.extend(program.new_lines());
        expected.iter().all(|one| n_times(&log, *one) > 0)
    });
    program.signal(Signal::SIGTERM);
    log.extend(program.remaining_lines());
    for one in expected {
        assert_eq!(n_times(&log, one), 1, "{one:?}: {log:?}");
    }
    assert!(log.iter().any(|line| line.contains("stats left out: ")), "{log:?}");
}

// 1. All processes together publish as much as the budgets allow, with names as long as an answer holds; some hang in the middle
//    of a large snapshot.
// 2. Answers have the largest size, and clients do not read them.
// 3. Other clients use up the connections with half a request each.
#[test]
fn unread_answers_of_the_largest_size_take_less_than_64_mb() {
    let dir = pipe_dir();
    let text = |writer: usize| lines(16_000, |n| format!("{writer}{}.{n}: 1\n", "x".repeat(100)));
    let _writers: Vec<_> = (0u16..9)
        .map(|n| LegacyWriter::start(dir.path(), &unlocked_name(n), text(usize::from(n) % 5 % 4)))
        .collect();
    let _hung: Vec<_> = (0..N_HUNG)
        .map(|n| {
            let path = dir.path().join(format!("hung-{n}.1.stats"));
            make_fifo(&path);
            let mut pipe = File::options().read(true).write(true).open(path).unwrap();
            let half = lines(60_000, |line| format!("h{n}.{line}: 1\n"));
            // The largest pipe of an ordinary user: 1 MiB. Beyond the user's quota of pipe memory the kernel allows less.
            let n_bytes =
                fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(1 << 20)).map_or(4096, |_| half.len().min(1 << 20));
            pipe.write_all(&half[..n_bytes - 8]).unwrap();
            pipe
        })
        .collect();
    let program = Program::serve(dir.path(), DEADLINE);
    let client = program.client();
    for _ in 0..2 {
        let unread = connect_without_reading(&client, 2);
        let _slow = connect_with_half_a_head(&client, 200);
        ask(&program, &client, "the stats of at least three processes", |reply| reply.counts()[0] >= 3);
        drop(unread);
    }
    let [peak, now] = program.memory_kb();
    println!("{peak} kB at the peak, {now} kB now");
    assert!(peak < MAX_MEMORY_KB, "{peak} kB at the peak, {now} kB now");
}
