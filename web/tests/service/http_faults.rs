//! Misbehaving HTTP clients: every other client is answered, and memory stays bounded.

use std::io::{BufRead, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread::scope;
use std::time::Duration;

use statvent_core::Registry;
use statvent_posix::Recorder;
use statvent_web::serve::Service;

use crate::support::{
    Client, DEADLINE, LONG_DEADLINE, LegacyWriter, NO_CLIENT_DEADLINE, Program, Server, config, connect,
    eventually, listener_with_send_buffer, observe_for, pipe_dir, unlocked_name,
};

const REQUEST: &[u8] = b"GET /stats HTTP/1.1\r\nHost: localhost\r\n\r\n";
const LAST_REQUEST: &[u8] = b"GET /stats HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
/// The start of a request that is never completed.
const HALF: &[u8] = b"GET /stats HTTP/1.1\r\nHost: loc";
/// The connection limit of the service.
const MAX_CONNECTIONS: usize = 256;

/// Checks that a request on a new connection is answered.
fn check_new_client(client: &Client) {
    assert_eq!(Client::new(client.address()).get("/stats").status, 200);
}

#[test]
fn two_hundred_silent_connections_delay_no_other_client() {
    let dir = pipe_dir();
    let server = Server::start(dir.path());
    let _silent = connect(&server.client(), 200, b"");
    for _ in 0..20 {
        check_new_client(&server.client());
    }
}

// 1. More clients than the limit connect and send nothing, or half a request.
// 2. They are disconnected, and new clients are served in their place.
#[test]
fn more_silent_clients_than_the_limit_exclude_no_other_client() {
    let dir = pipe_dir();
    let server = Server::start_with_client_deadline(dir.path(), Duration::from_secs(1));
    let client = server.client();
    let _silent = connect(&client, MAX_CONNECTIONS, b"");
    let _slow = connect(&client, MAX_CONNECTIONS, HALF);
    for _ in 0..20 {
        check_new_client(&client);
    }
}

// 1. As many clients as the limit wait for one process.
// 2. More clients connect.
// 3. No waiting client is disconnected.
#[test]
fn more_asking_clients_than_the_limit_are_all_answered() {
    let dir = pipe_dir();
    let (resume, paused) = channel::<()>();
    let _legacy = LegacyWriter::start_with(dir.path(), &unlocked_name(1), move || {
        let _ = paused.recv_timeout(DEADLINE);
        b"hits: 1\n".to_vec()
    });
    let server = Server::start_with_deadline(dir.path(), DEADLINE);
    let asking = connect(&server.client(), MAX_CONNECTIONS + 100, LAST_REQUEST);
    // No client is disconnected while it waits.
    observe_for(Duration::from_millis(500));
    // From now on the writer answers at once.
    resume.send(()).unwrap();
    drop(resume);
    for mut stream in asking {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains(r#"{"stats":{"hits":1}"#), "{answer}");
    }
}

// 1. As many clients as the limit send requests all the time, so that none is ever idle, and reconnect when they are disconnected.
// 2. Other clients connect and are answered.
#[test]
fn clients_that_ask_all_the_time_exclude_no_other_client() {
    let dir = pipe_dir();
    let server = Server::start_with_client_deadline(dir.path(), Duration::from_secs(1));
    let client = server.client();
    let mut busy = connect(&client, MAX_CONNECTIONS, b"");
    let stop = AtomicBool::new(false);
    scope(|scope| {
        // A guard: without it a failed assertion would leave the thread running.
        let stop_guard = StopOnDrop(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                for stream in &mut busy {
                    let sent = stream.write_all(b"GET /nope HTTP/1.1\r\nHost: localhost\r\n\r\n");
                    let answered = sent.and_then(|()| stream.read(&mut [0; 1024]));
                    if !answered.is_ok_and(|n_bytes| n_bytes > 0) {
                        *stream = client.connect();
                    }
                }
            }
        });
        for _ in 0..5 {
            check_new_client(&client);
        }
        drop(stop_guard);
    });
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

// 1. A request waits for a scrape that takes longer than the client deadline.
// 2. It is answered: the deadline does not count while the client waits for the service.
#[test]
fn a_scrape_longer_than_the_client_deadline_is_answered() {
    let dir = pipe_dir();
    let (resume, paused) = channel::<()>();
    let _legacy = LegacyWriter::start_with(dir.path(), &unlocked_name(1), move || {
        let _ = paused.recv_timeout(DEADLINE);
        b"hits: 1\n".to_vec()
    });
    let client_deadline = Duration::from_millis(500);
    let server = Server::start_with_client_deadline(dir.path(), client_deadline);
    let mut stream = server.client().connect();
    stream.write_all(LAST_REQUEST).unwrap();
    observe_for(2 * client_deadline);
    resume.send(()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(r#"{"stats":{"hits":1}"#), "{answer}");
}

// No route needs a request body, so the service answers without waiting for it.
#[test]
fn slow_request_bodies_are_not_waited_for() {
    let dir = pipe_dir();
    let _legacy = LegacyWriter::start(dir.path(), &unlocked_name(1), "hits: 1\n");
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
                // Closed after the answer; unread request bytes may turn that into a reset.
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
        check_new_client(&server.client());
    }
}

// A byte now and then does not extend the client deadline.
#[test]
fn requests_sent_byte_by_byte_time_out() {
    let dir = pipe_dir();
    let server = Server::start_with_client_deadline(dir.path(), Duration::from_millis(300));
    let client = server.client();
    let mut slow = connect(&client, 50, HALF);
    eventually("all connections to be closed", || {
        slow.retain_mut(|stream| stream.write_all(b"x").is_ok());
        slow.is_empty()
    });
    check_new_client(&client);
}

#[test]
fn a_one_megabyte_head_is_431_and_costs_little_memory() {
    let dir = pipe_dir();
    let program = Program::serve(dir.path(), LONG_DEADLINE);
    let client = program.client();
    check_new_client(&client);
    let head = [b"GET /stats HTTP/1.1\r\nHost: localhost\r\nX: ".to_vec(), vec![b'x'; 1 << 20]].concat();
    let [before, _] = program.memory_kb();
    for _ in 0..50 {
        let mut stream = client.connect();
        // The service may close before it has read everything; the reset may discard the answer.
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
    let [peak, _] = program.memory_kb();
    assert!(peak < before + 4_000, "{before} kB before, {peak} kB at the peak");
    check_new_client(&client);
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

// One request in fifty is for the stats, and causes a scrape.
#[test]
fn a_hundred_thousand_requests_on_one_connection_are_answered_and_cost_no_memory() {
    const N_BATCHES: usize = 2000;
    const BATCH: usize = 50;
    const OTHER: &[u8] = b"GET /nope HTTP/1.1\r\nHost: localhost\r\n\r\n";
    static STATS: Registry<64, 1, 4096> = Registry::new();
    let dir = pipe_dir();
    STATS.incr("hits", 1);
    let _recorder = Recorder::builder(&STATS).directory(dir.path()).start().unwrap();
    let program = Program::serve(dir.path(), LONG_DEADLINE);
    let client = program.client();
    check_new_client(&client);
    let stream = client.connect();
    let [before, _] = program.memory_kb();
    scope(|scope| {
        let mut sender = stream.try_clone().unwrap();
        // Pipelined: sent without waiting for answers.
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
                check_new_client(&client);
            }
        }
    });
    let [peak, _] = program.memory_kb();
    assert!(peak < before + 2_000, "{before} kB before, {peak} kB at the peak");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let dir = pipe_dir();
    let server = Server::start(dir.path());
    let other = b"GET /nope HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answers = server.client().send_raw(&[REQUEST, other, REQUEST, LAST_REQUEST].concat());
    let statuses: Vec<_> = answers.lines().filter_map(|line| line.split_once("HTTP/1.1 ")).collect();
    let statuses: Vec<_> = statuses.iter().map(|(_, status)| &status[..3]).collect();
    assert_eq!(statuses, ["200", "404", "200", "200"], "{answers}");
}

#[test]
fn a_half_closed_client_gets_its_answer() {
    let dir = pipe_dir();
    let (resume, paused) = channel::<()>();
    let _legacy = LegacyWriter::start_with(dir.path(), &unlocked_name(1), move || {
        let _ = paused.recv_timeout(DEADLINE);
        b"hits: 1\n".to_vec()
    });
    let server = Server::start_with_deadline(dir.path(), DEADLINE);
    let mut stream = server.client().connect();
    stream.write_all(REQUEST).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    // The service handles events in order: after this answer it has seen the half close.
    assert_eq!(server.client().get("/nope").status, 404);
    resume.send(()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(r#"{"stats":{"hits":1}"#), "{answer}");
}

#[test]
fn clients_that_reset_mid_answer_harm_no_other_client() {
    let dir = pipe_dir();
    let lines: String = (0..10_000).map(|n| format!("a.rather.long.name.of.a.stat.{n}: {n}\n")).collect();
    let _legacy = LegacyWriter::start(dir.path(), &unlocked_name(1), lines);
    let server = Server::start(dir.path());
    let client = server.client();
    for mut stream in connect(&client, 100, REQUEST) {
        stream.read_exact(&mut [0; 100]).unwrap();
        // Closing with unread data in the receive buffer sends a reset.
        drop(stream);
    }
    assert_eq!(server.stats().json()["stats"].as_object().unwrap().len(), 10_000);
}

// The client deadline is ten minutes, so no client times out before the shutdown.
#[test]
fn the_service_shuts_down_regardless_of_its_clients() {
    let dir = pipe_dir();
    let lines: String = (0..10_000).map(|n| format!("a.rather.long.name.of.a.stat.{n}: {n}\n")).collect();
    let _legacy = LegacyWriter::start(dir.path(), &unlocked_name(1), lines);
    let server =
        Server::start_with(config(dir.path(), NO_CLIENT_DEADLINE), listener_with_send_buffer(4 << 10));
    let client = server.client();
    let _silent = connect(&client, 200, b"");
    let _slow = connect(&client, 20, HALF);
    let unread = connect(&client, 20, REQUEST);
    for stream in &unread {
        assert_eq!(stream.peek(&mut [0]).unwrap(), 1, "waited for the first byte of the answer");
    }
    server.shut_down();
}

#[test]
fn a_panic_is_500_and_counted_and_the_next_answer_is_right() {
    let dir = pipe_dir();
    let _good = LegacyWriter::start(dir.path(), &unlocked_name(1), "hits: 1\n");
    let service =
        Service::start_reporting(config(dir.path(), NO_CLIENT_DEADLINE), |warning| panic!("{warning}"))
            .unwrap();
    let server = Server::serve(service, TcpListener::bind("127.0.0.1:0").unwrap());
    for n_panics in 1..=3 {
        assert_eq!(server.stats().stats_text(), r#"{"hits":1}"#);
        // A different pipe name each time: a warning about one process is logged only once.
        let bad = LegacyWriter::start(dir.path(), &unlocked_name(1 + n_panics), "no number\n");
        // It may take more than one request: the writer may be slow.
        let mut reply = None;
        eventually("a panic", || {
            reply = Some(server.stats()).filter(|reply| reply.status != 200);
            reply.is_some()
        });
        let reply = reply.unwrap();
        assert_eq!((reply.status, reply.header("content-type")), (500, Some("application/json")));
        let message = reply.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(&format!("failure {n_panics} since its start")), "{message}");
        drop(bad);
    }
}
