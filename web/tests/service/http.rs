//! HTTP semantics: statuses, headers, bodies, and refused requests.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::{
    LegacyWriter, Server, config, eventually, listener_with_send_buffer, pipe_dir, set_mode, unlocked_name,
};

#[test]
fn stats_are_json_with_a_length_and_without_caching() {
    let dir = pipe_dir();
    let _legacy = LegacyWriter::start(dir.path(), &unlocked_name(1), "hits: 3\nbad: nan\n");
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
    let _legacy = LegacyWriter::start(dir.path(), &unlocked_name(1), "hits: 3\n");
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
fn other_methods_are_405_with_the_allowed_ones() {
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
fn a_request_without_host_is_400_in_http_1_1_and_200_in_1_0() {
    let dir = pipe_dir();
    let server = Server::start(dir.path());
    let http_1_1 = server.client().send_raw(b"GET /stats HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(http_1_1.starts_with("HTTP/1.1 400 "), "{http_1_1}");
    let http_1_0 = server.client().send_raw(b"GET /stats HTTP/1.0\r\n\r\n");
    assert!(http_1_0.starts_with("HTTP/1.0 200 "), "{http_1_0}");
}

#[test]
fn malformed_requests_are_400_and_close_the_connection() {
    let dir = pipe_dir();
    let server = Server::start(dir.path());
    let answer = server.client().send_raw(b"\x16\x03\x01 this is not HTTP\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(64 << 10));
    let mut stream = server.client().connect();
    // The service may close the connection before it has read the whole request.
    let _ = stream.write_all(long.as_bytes());
    let _ = stream.read_to_end(&mut Vec::new());
    assert_eq!(server.stats().status, 200);
}

#[test]
fn silent_connections_delay_no_other_client() {
    let dir = pipe_dir();
    let server = Server::start(dir.path());
    let _silent: Vec<_> = (0..20).map(|_| server.client().connect()).collect();
    let mut half = server.client().connect();
    half.write_all(b"GET /stats HTT").unwrap();
    assert_eq!(server.stats().status, 200);
}

// 1. 256 clients, the limit, ask for more than the send buffers of their connections hold.
// 2. None reads its answer.
// 3. One more client asks.
#[test]
fn clients_that_do_not_read_their_answers_block_no_other_client() {
    let dir = pipe_dir();
    let lines: String = (0..40_000).map(|n| format!("a.rather.long.name.of.a.stat.{n}: {n}\n")).collect();
    let _legacy = LegacyWriter::start(dir.path(), &unlocked_name(1), lines);
    let server =
        Server::start_with(config(dir.path(), Duration::from_secs(2)), listener_with_send_buffer(4 << 10));
    let unread: Vec<_> = (0..256)
        .map(|_| {
            let mut stream = server.client().connect();
            stream.write_all(b"GET /stats HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            stream
        })
        .collect();
    assert_eq!(server.client().get("/nope").status, 404);
    // Not all of them: those below may start to read before their deadline ends.
    let is_cut_off = |mut stream: TcpStream| {
        let mut taken = Vec::new();
        let _ = stream.read_to_end(&mut taken);
        !taken.ends_with(b"}")
    };
    assert!(unread.into_iter().any(is_cut_off), "no connection was closed for the client that reads");
}

// 1. The memory budget has room for only one body of this size.
// 2. Two clients ask and do not read their answers.
// 3. Every further request needs the memory of an unread body.
#[test]
fn large_unread_answers_leave_memory_for_other_clients() {
    let dir = pipe_dir();
    let writers = ["one", "two"].map(|who| {
        let line = |n| format!("{who}.{}.{n}: {n}\n", "x".repeat(110));
        (0..26_000).map(line).collect::<String>()
    });
    let _legacy =
        [1, 2].map(|n| LegacyWriter::start(dir.path(), &unlocked_name(n), &*writers[usize::from(n) - 1]));
    // 5 s: enough to read such an answer on a busy machine.
    let client_deadline = Duration::from_secs(5);
    let server =
        Server::start_with(config(dir.path(), client_deadline), listener_with_send_buffer(256 << 10));
    let client = server.client();
    let complete = client.get("/stats");
    assert!(complete.text.len() > 6 << 20, "{} bytes", complete.text.len());
    for round in 0..2 {
        let unread = [(); 2].map(|()| {
            let mut stream = client.connect();
            stream.write_all(b"GET /stats HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            assert_eq!(stream.peek(&mut [0]).unwrap(), 1, "waited for the first byte of the answer");
            stream
        });
        for _ in 0..3 {
            let mut reply = None;
            // A request may time out with 503 while it waits for the memory of unread answers.
            eventually("an answer with status 200", || reply.insert(client.get("/stats")).status == 200);
            let reply = reply.unwrap();
            let sizes = [&reply, &complete].map(|reply| (reply.text.len(), reply.counts()));
            assert!(reply.stats_text() == complete.stats_text(), "round {round}: {sizes:?}");
        }
        drop(unread);
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
