//! What HTTP clients see: statuses, headers, bodies, and who is refused.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::TcpSocket;

use crate::support::{Legacy, Server, config, eventually, pipe_dir, set_mode, unlocked_name};

#[test]
fn stats_are_json_with_a_length_and_are_not_stored() {
    let dir = pipe_dir();
    let _legacy = Legacy::start(dir.path(), &unlocked_name(1), "hits: 3\nbad: nan\n");
    let server = Server::start(dir.path());
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let reply = server.client().get("/stats?any=query");
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("content-length"), Some(&*reply.text.len().to_string()));
    assert_eq!(reply.stats_text(), r#"{"bad":null,"hits":3}"#);
    let timestamp = reply.json()["timestamp"].as_f64().unwrap();
    let after = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((before..=after).contains(&timestamp), "{timestamp} is not from {before} to {after}");
}

#[test]
fn another_path_is_404_and_says_where_the_stats_are() {
    let dir = pipe_dir();
    let server = Server::start(dir.path());
    for (method, path) in [("GET", "/nope"), ("POST", "/nope"), ("GET", "/stats/"), ("GET", "/")] {
        let reply = server.client().send(method, path, &[]);
        assert_eq!((reply.status, reply.header("content-type")), (404, Some("application/json")));
        let expected = format!(
            r#"{{"message":"there is nothing at this path: the stats are at /stats","path":"{path}"}}"#
        );
        assert_eq!(reply.text, expected);
    }
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let dir = pipe_dir();
    let _legacy = Legacy::start(dir.path(), &unlocked_name(1), "hits: 3\n");
    let server = Server::start(dir.path());
    let request = b"HEAD /stats HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let head = server.client().send_raw(request);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "a body: {head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    // The timestamp may have a digit more or less.
    let expected = server.stats().text.len();
    assert!(length.parse::<usize>().unwrap().abs_diff(expected) < 8, "{length}, expected about {expected}");
}

#[test]
fn other_methods_are_405_and_learn_which_are_allowed() {
    let dir = pipe_dir();
    let server = Server::start(dir.path());
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let reply = server.client().send(method, "/stats", &[]);
        assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD")), "{method}");
        assert_eq!(reply.json()["path"], "/stats");
    }
    let posted =
        b"POST /stats HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody";
    assert!(server.client().send_raw(posted).starts_with("HTTP/1.1 405 "));
}

#[test]
fn a_foreign_host_is_refused_on_loopback() {
    let dir = pipe_dir();
    let server = Server::start(dir.path());
    for host in ["evil.example", "evil.example:7828", "10.1.2.3"] {
        let reply = server.client().send("GET", "/stats", &[("Host", host)]);
        assert_eq!((reply.status, reply.header("content-type")), (403, Some("application/json")), "{host}");
        assert!(reply.json()["message"].as_str().unwrap().contains("expected localhost"), "{}", reply.text);
    }
    for host in ["localhost", "localhost:1", "127.8.8.8", "[::1]:7828"] {
        assert_eq!(server.client().send("GET", "/stats", &[("Host", host)]).status, 200, "{host}");
    }
}

#[test]
fn a_request_without_host_is_400_in_http_1_1_and_fine_in_1_0() {
    let dir = pipe_dir();
    let server = Server::start(dir.path());
    let new = server.client().send_raw(b"GET /stats HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(new.starts_with("HTTP/1.1 400 "), "{new}");
    let old = server.client().send_raw(b"GET /stats HTTP/1.0\r\n\r\n");
    assert!(old.starts_with("HTTP/1.0 200 "), "{old}");
}

#[test]
fn nonsense_is_answered_and_the_connection_closed() {
    let dir = pipe_dir();
    let server = Server::start(dir.path());
    let answer = server.client().send_raw(b"\x16\x03\x01 this is not HTTP\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(64 << 10));
    let mut stream = server.client().connect();
    // The service may close before it has read everything.
    let _ = stream.write_all(long.as_bytes());
    let _ = stream.read_to_end(&mut Vec::new());
    assert_eq!(server.stats().status, 200);
}

#[test]
fn a_silent_connection_keeps_nobody_waiting() {
    let dir = pipe_dir();
    let server = Server::start(dir.path());
    let _silent: Vec<_> = (0..20).map(|_| server.client().connect()).collect();
    let mut half = server.client().connect();
    half.write_all(b"GET /stats HTT").unwrap();
    assert_eq!(server.stats().status, 200);
}

/// A listener whose connections hold no more than so much of an answer that is not read.
pub(crate) fn listener_that_holds(n_bytes: u32) -> TcpListener {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(n_bytes).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        socket.listen(256).unwrap().into_std().unwrap()
    })
}

// 1. As many clients as are served at a time ask for more than their connections hold. 2. None reads its answer. 3. One
// more client asks.
#[test]
fn clients_that_do_not_read_their_answers_block_nobody() {
    let dir = pipe_dir();
    let lines: String = (0..40_000).map(|n| format!("a.rather.long.name.of.a.stat.{n}: {n}\n")).collect();
    let _legacy = Legacy::start(dir.path(), &unlocked_name(1), lines);
    let server = Server::start_with(config(dir.path(), Duration::from_secs(2)), listener_that_holds(4 << 10));
    let deaf: Vec<_> = (0..256)
        .map(|_| {
            let mut stream = server.client().connect();
            stream.write_all(b"GET /stats HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            stream
        })
        .collect();
    assert_eq!(server.client().get("/nope").status, 404);
    // The others may have begun to read in time by now.
    let is_cut_off = |mut stream: TcpStream| {
        let mut taken = Vec::new();
        let _ = stream.read_to_end(&mut taken);
        !taken.ends_with(b"}")
    };
    assert!(deaf.into_iter().any(is_cut_off), "somebody lost a place to the one who read");
}

// 1. The body is so large that there is memory for one alone. 2. A client asks and does not read its answer; then another
// one. 3. Whoever asks now needs the memory of the answer that nobody takes.
#[test]
fn clients_that_do_not_read_the_stats_keep_nobody_from_them() {
    let dir = pipe_dir();
    let writers = ["one", "two"].map(|who| {
        let line = |n| format!("{who}.{}.{n}: {n}\n", "x".repeat(110));
        (0..26_000).map(line).collect::<String>()
    });
    let _legacy = [1, 2].map(|n| Legacy::start(dir.path(), &unlocked_name(n), &*writers[usize::from(n) - 1]));
    // Enough to take such an answer on a busy machine.
    let client_deadline = Duration::from_secs(5);
    let server = Server::start_with(config(dir.path(), client_deadline), listener_that_holds(256 << 10));
    let client = server.client();
    let whole = client.get("/stats");
    assert!(whole.text.len() > 6 << 20, "{} bytes", whole.text.len());
    for round in 0..2 {
        let deaf = [(); 2].map(|()| {
            let mut stream = client.connect();
            stream.write_all(b"GET /stats HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            assert_eq!(stream.peek(&mut [0]).unwrap(), 1, "waited for its answer to begin");
            stream
        });
        for _ in 0..3 {
            let mut reply = None;
            // Those who take nothing may take all the time that there is for an answer.
            eventually("the stats", || reply.insert(client.get("/stats")).status == 200);
            let reply = reply.unwrap();
            let sizes = [&reply, &whole].map(|reply| (reply.text.len(), reply.counts()));
            assert!(reply.stats_text() == whole.stats_text(), "round {round}: {sizes:?}");
        }
        drop(deaf);
    }
}

#[test]
fn a_connection_serves_many_requests() {
    let dir = pipe_dir();
    let server = Server::start(dir.path());
    let mut stream = server.client().connect();
    for _ in 0..3 {
        stream.write_all(b"GET /nope HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 404");
        let mut rest = Vec::new();
        while !rest.ends_with(b"}") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            rest.extend(byte);
        }
    }
}

#[test]
fn a_directory_that_becomes_unsafe_is_500_and_says_what_to_do() {
    let dir = pipe_dir();
    let server = Server::start(dir.path());
    assert_eq!(server.stats().status, 200);
    set_mode(dir.path(), 0o777);
    let reply = server.stats();
    assert_eq!((reply.status, reply.header("content-type")), (500, Some("application/json")));
    let message = reply.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("0777") && message.contains("chmod 755"), "{message}");
    set_mode(dir.path(), 0o755);
    assert_eq!(server.stats().status, 200);
}
