//! Clients that misbehave, by thousands: the others are answered, and the service stays small and whole.

use std::io::{BufRead, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread::scope;
use std::time::Duration;

use statvent_core::Registry;
use statvent_posix::Recorder;
use statvent_web::serve::Service;

use crate::http::listener_that_holds;
use crate::support::{
    Client, DEADLINE, Legacy, PATIENT, Program, Server, UNLIMITED, config, eventually, observe_for, pipe_dir,
    unlocked_name,
};

const REQUEST: &[u8] = b"GET /stats HTTP/1.1\r\nHost: localhost\r\n\r\n";
const LAST_REQUEST: &[u8] = b"GET /stats HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
/// The beginning of a request that has no end.
const HALF: &[u8] = b"GET /stats HTTP/1.1\r\nHost: loc";
/// How many connections are served at a time.
const MAX_CONNECTIONS: usize = 256;

pub(crate) fn connect(client: &Client, n_clients: usize, say: &[u8]) -> Vec<TcpStream> {
    let connect = |_| {
        let mut stream = client.connect();
        stream.write_all(say).unwrap();
        stream
    };
    (0..n_clients).map(connect).collect()
}

/// Checks that a client that has no connection yet is answered.
fn is_answered(client: &Client) {
    assert_eq!(Client::new(client.address()).get("/stats").status, 200);
}

#[test]
fn two_hundred_silent_connections_keep_nobody_waiting() {
    let dir = pipe_dir();
    let server = Server::start(dir.path());
    let _silent = connect(&server.client(), 200, b"");
    for _ in 0..20 {
        is_answered(&server.client());
    }
}

// 1. More clients than are served at a time connect and say nothing, or begin a request and say no more. 2. They are
// disconnected, and those who ask get their places.
#[test]
fn more_silent_clients_than_places_keep_nobody_out() {
    let dir = pipe_dir();
    let server = Server::start_with_client_deadline(dir.path(), Duration::from_secs(1));
    let client = server.client();
    let _silent = connect(&client, MAX_CONNECTIONS, b"");
    let _slow = connect(&client, MAX_CONNECTIONS, HALF);
    for _ in 0..20 {
        is_answered(&client);
    }
}

// 1. As many clients ask as are served at a time, and wait for one process. 2. More come. 3. Nobody who asks makes way.
#[test]
fn more_clients_that_ask_than_places_are_all_answered() {
    let dir = pipe_dir();
    let (say, said) = channel::<()>();
    let _legacy = Legacy::start_with(dir.path(), &unlocked_name(1), move || {
        let _ = said.recv_timeout(DEADLINE);
        b"hits: 1\n".to_vec()
    });
    let server = Server::start_with_deadline(dir.path(), DEADLINE);
    let asking = connect(&server.client(), MAX_CONNECTIONS + 100, LAST_REQUEST);
    // They wait, and none is disconnected meanwhile.
    observe_for(Duration::from_millis(500));
    // From now on it does not wait.
    say.send(()).unwrap();
    drop(say);
    for mut stream in asking {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains(r#"{"stats":{"hits":1}"#), "{answer}");
    }
}

// 1. As many clients as are served at a time ask again and again, so that none of them is silent for long, and come again
// where they are disconnected. 2. Others come, and are answered.
#[test]
fn clients_that_ask_all_the_time_keep_nobody_out() {
    let dir = pipe_dir();
    let server = Server::start_with_client_deadline(dir.path(), Duration::from_secs(1));
    let client = server.client();
    let mut busy = connect(&client, MAX_CONNECTIONS, b"");
    let stop = AtomicBool::new(false);
    scope(|scope| {
        // Also where an answer is missing: else the others would ask for ever.
        let stops = Stops(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                for stream in &mut busy {
                    let asked = stream.write_all(b"GET /nope HTTP/1.1\r\nHost: localhost\r\n\r\n");
                    let answered = asked.and_then(|()| stream.read(&mut [0; 1024]));
                    if !answered.is_ok_and(|n_bytes| n_bytes > 0) {
                        *stream = client.connect();
                    }
                }
            }
        });
        for _ in 0..5 {
            is_answered(&client);
        }
        drop(stops);
    });
}

struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

// 1. A request waits for a collection that takes longer than a client may take. 2. It gets its answer: the time is not the
// client's.
#[test]
fn a_request_that_waits_for_longer_than_a_client_may_take_is_answered() {
    let dir = pipe_dir();
    let (say, said) = channel::<()>();
    let _legacy = Legacy::start_with(dir.path(), &unlocked_name(1), move || {
        let _ = said.recv_timeout(DEADLINE);
        b"hits: 1\n".to_vec()
    });
    let client_deadline = Duration::from_millis(500);
    let server = Server::start_with_client_deadline(dir.path(), client_deadline);
    let mut stream = server.client().connect();
    stream.write_all(LAST_REQUEST).unwrap();
    observe_for(2 * client_deadline);
    say.send(()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(r#"{"stats":{"hits":1}"#), "{answer}");
}

// A body that nobody needs is not waited for, however slowly it comes.
#[test]
fn slow_bodies_of_requests_are_not_waited_for() {
    let dir = pipe_dir();
    let _legacy = Legacy::start(dir.path(), &unlocked_name(1), "hits: 1\n");
    let server = Server::start(dir.path());
    for (head, status) in [
        ("POST /stats HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nx", "405"),
        ("GET /stats HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "200"),
    ] {
        let mut stream = server.client().connect();
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let mut byte = [0];
        loop {
            match stream.read(&mut byte) {
                Ok(1..) => answer.extend(byte),
                // Closed after the answer; what was sent and not read may make that a reset.
                Ok(0) => break,
                Err(err) => {
                    assert_eq!(err.kind(), ErrorKind::ConnectionReset);
                    break;
                }
            }
            let _ = stream.write_all(b"y");
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        is_answered(&server.client());
    }
}

// A byte now and then wins no time.
#[test]
fn requests_that_come_byte_by_byte_are_given_up() {
    let dir = pipe_dir();
    let server = Server::start_with_client_deadline(dir.path(), Duration::from_millis(300));
    let client = server.client();
    let mut slow = connect(&client, 50, HALF);
    eventually("all of them to be closed", || {
        slow.retain_mut(|stream| stream.write_all(b"x").is_ok());
        slow.is_empty()
    });
    is_answered(&client);
}

#[test]
fn a_head_of_a_megabyte_is_431_and_costs_little() {
    let dir = pipe_dir();
    let program = Program::serve(dir.path(), PATIENT);
    let client = program.client();
    is_answered(&client);
    let head = [b"GET /stats HTTP/1.1\r\nHost: localhost\r\nX: ".to_vec(), vec![b'x'; 1 << 20]].concat();
    let [before, _] = program.memory_kb();
    for _ in 0..50 {
        let mut stream = client.connect();
        // It may be refused before all of it was sent; the answer may be lost with that.
        let _ = stream.write_all(&head);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431 "), "{}", answer.escape_ascii());
    }
    let mut stream = client.connect();
    stream.write_all(&head[..20_000]).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let [most, _] = program.memory_kb();
    assert!(most < before + 4_000, "{before} kB before, {most} kB at most");
    is_answered(&client);
}

/// Reads one answer: its status and its body.
fn read_answer(stream: &mut impl BufRead) -> (u16, String) {
    let (mut status, mut n_bytes) = (0, 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        match line.trim_end() {
            "" => break,
            line if line.starts_with("HTTP/1.1 ") => status = line[9..12].parse().unwrap(),
            line => {
                let length = line.strip_prefix("content-length: ");
                n_bytes = length.map_or(n_bytes, |length| length.parse().unwrap());
            }
        }
    }
    let mut body = vec![0; n_bytes];
    stream.read_exact(&mut body).unwrap();
    (status, String::from_utf8(body).unwrap())
}

// One in fifty asks for the stats, each of which is a collection.
#[test]
fn a_hundred_thousand_requests_on_one_connection_are_answered_and_cost_no_memory() {
    const N_BATCHES: usize = 2000;
    const BATCH: usize = 50;
    const OTHER: &[u8] = b"GET /nope HTTP/1.1\r\nHost: localhost\r\n\r\n";
    static OURS: Registry<64, 1, 4096> = Registry::new();
    let dir = pipe_dir();
    OURS.incr("hits", 1);
    let _ours = Recorder::builder(&OURS).directory(dir.path()).start().unwrap();
    let program = Program::serve(dir.path(), PATIENT);
    let client = program.client();
    is_answered(&client);
    let stream = client.connect();
    let [before, _] = program.memory_kb();
    scope(|scope| {
        let mut sender = stream.try_clone().unwrap();
        // Sent without waiting for answers.
        scope.spawn(move || {
            let batch = [REQUEST, &OTHER.repeat(BATCH - 1)].concat();
            (0..N_BATCHES).for_each(|_| sender.write_all(&batch).unwrap());
        });
        let mut answers = BufReader::new(&stream);
        for n in 0..N_BATCHES {
            let (status, body) = read_answer(&mut answers);
            assert!(
                status == 200 && body.starts_with(r#"{"stats":{"hits":1},"#),
                "batch {n}: {status} {body}"
            );
            for _ in 1..BATCH {
                assert_eq!(read_answer(&mut answers).0, 404, "batch {n}");
            }
            if n % 500 == 0 {
                is_answered(&client);
            }
        }
    });
    let [most, _] = program.memory_kb();
    assert!(most < before + 2_000, "{before} kB before, {most} kB at most");
}

#[test]
fn requests_sent_at_once_are_answered_in_their_order() {
    let dir = pipe_dir();
    let server = Server::start(dir.path());
    let other = b"GET /nope HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answers = server.client().send_raw(&[REQUEST, other, REQUEST, LAST_REQUEST].concat());
    let statuses: Vec<_> = answers.lines().filter_map(|line| line.split_once("HTTP/1.1 ")).collect();
    let statuses: Vec<_> = statuses.iter().map(|(_, status)| &status[..3]).collect();
    assert_eq!(statuses, ["200", "404", "200", "200"], "{answers}");
}

#[test]
fn a_client_that_has_no_more_to_say_gets_its_answer() {
    let dir = pipe_dir();
    let (say, said) = channel::<()>();
    let _legacy = Legacy::start_with(dir.path(), &unlocked_name(1), move || {
        let _ = said.recv_timeout(DEADLINE);
        b"hits: 1\n".to_vec()
    });
    let server = Server::start_with_deadline(dir.path(), DEADLINE);
    let mut stream = server.client().connect();
    stream.write_all(REQUEST).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    // Events are taken in their order: by the time of this answer the service knows.
    assert_eq!(server.client().get("/nope").status, 404);
    say.send(()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(r#"{"stats":{"hits":1}"#), "{answer}");
}

#[test]
fn clients_that_reset_in_the_middle_of_an_answer_harm_nobody() {
    let dir = pipe_dir();
    let lines: String = (0..10_000).map(|n| format!("a.rather.long.name.of.a.stat.{n}: {n}\n")).collect();
    let _legacy = Legacy::start(dir.path(), &unlocked_name(1), lines);
    let server = Server::start(dir.path());
    let client = server.client();
    for mut stream in connect(&client, 100, REQUEST) {
        stream.read_exact(&mut [0; 100]).unwrap();
        // What was sent and not read makes the system answer with a reset.
        drop(stream);
    }
    assert_eq!(server.stats().json()["stats"].as_object().unwrap().len(), 10_000);
}

// Each of these clients may take ten minutes for what it does.
#[test]
fn the_service_ends_whatever_its_clients_do() {
    let dir = pipe_dir();
    let lines: String = (0..10_000).map(|n| format!("a.rather.long.name.of.a.stat.{n}: {n}\n")).collect();
    let _legacy = Legacy::start(dir.path(), &unlocked_name(1), lines);
    let server = Server::start_with(config(dir.path(), UNLIMITED), listener_that_holds(4 << 10));
    let client = server.client();
    let _silent = connect(&client, 200, b"");
    let _slow = connect(&client, 20, HALF);
    let deaf = connect(&client, 20, REQUEST);
    for stream in &deaf {
        assert_eq!(stream.peek(&mut [0]).unwrap(), 1, "waited for its answer to begin");
    }
    server.end();
}

#[test]
fn a_panic_is_500_and_counted_and_the_next_answer_is_right() {
    let dir = pipe_dir();
    let _good = Legacy::start(dir.path(), &unlocked_name(1), "hits: 1\n");
    let service =
        Service::start_reporting(config(dir.path(), UNLIMITED), |trouble| panic!("{trouble}")).unwrap();
    let server = Server::serve(service, TcpListener::bind("127.0.0.1:0").unwrap());
    for n_panics in 1..=3 {
        assert_eq!(server.stats().stats_text(), r#"{"hits":1}"#);
        // Of another name each time, for a trouble is told once.
        let bad = Legacy::start(dir.path(), &unlocked_name(1 + n_panics), "no number\n");
        // Not the first one where the writer is late.
        let mut reply = None;
        eventually("a panic", || {
            reply = Some(server.stats()).filter(|reply| reply.status != 200);
            reply.is_some()
        });
        let reply = reply.unwrap();
        assert_eq!((reply.status, reply.header("content-type")), (500, Some("application/json")));
        let message = reply.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(&format!("which makes {n_panics} since its start")), "{message}");
        drop(bad);
    }
}
