//! Requests that wait share one collection, which began after they arrived.
//!
//! A writer that speaks when it is told to makes the moments visible: while it keeps silent, a collection is in flight.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::support::{Client, DEADLINE, Legacy, Server, pipe_dir, unlocked_name};

/// A legacy writer that says when a reader came, and then waits for what to say.
struct Prompted {
    legacy: Legacy,
    came: Receiver<()>,
    say: Sender<Vec<u8>>,
}

impl Prompted {
    fn start(dir: &std::path::Path) -> Self {
        let (came_to_us, came) = channel();
        let (say, said) = channel::<Vec<u8>>();
        let legacy = Legacy::start_with(dir, &unlocked_name(1), move || {
            let _ = came_to_us.send(());
            said.recv_timeout(DEADLINE).unwrap_or_default()
        });
        Self { legacy, came, say }
    }

    fn wait_for_reader(&self) {
        self.came.recv_timeout(DEADLINE).expect("waited for a reader");
    }

    fn say(&self, lines: &str) {
        self.say.send(lines.into()).unwrap();
    }
}

fn send(client: &Client) -> TcpStream {
    let mut stream = client.connect();
    stream.write_all(b"GET /stats HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    stream
}

fn body(mut stream: TcpStream) -> String {
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stream, &mut text).unwrap();
    text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text}")).1.to_owned()
}

#[test]
fn requests_that_come_during_a_collection_share_the_next_one() {
    let dir = pipe_dir();
    let writer = Prompted::start(dir.path());
    let server = Server::start_with_deadline(dir.path(), DEADLINE);
    let client = server.client();

    let first = send(&client);
    writer.wait_for_reader();
    let [second, third] = [send(&client), send(&client)];
    // Connections are served in the order they came: once this one has its answer the others have arrived.
    assert_eq!(client.get("/nope").status, 404);

    writer.say("round: 1\n");
    assert!(body(first).starts_with(r#"{"stats":{"round":1}"#));
    writer.wait_for_reader();
    writer.say("round: 2\n");
    let [second, third] = [body(second), body(third)];
    assert!(second.starts_with(r#"{"stats":{"round":2}"#), "{second}");
    assert_eq!(second, third, "one collection for both, its time included");
    assert_eq!(writer.legacy.n_rounds(), 2, "two collections for three requests");
}

#[test]
fn clients_that_leave_cost_one_collection_at_most() {
    let dir = pipe_dir();
    let writer = Prompted::start(dir.path());
    let server = Server::start_with_deadline(dir.path(), DEADLINE);
    let client = server.client();

    let first = send(&client);
    writer.wait_for_reader();
    for _ in 0..20 {
        drop(send(&client));
    }
    assert_eq!(client.get("/nope").status, 404);
    writer.say("round: 1\n");
    assert!(body(first).starts_with(r#"{"stats":{"round":1}"#));
    // Whoever closed may still want to read, so the answer for all of them is collected, once.
    writer.wait_for_reader();
    writer.say("round: 2\n");
    let last = send(&client);
    writer.wait_for_reader();
    writer.say("round: 3\n");
    assert!(body(last).starts_with(r#"{"stats":{"round":3}"#));
    assert_eq!(writer.legacy.n_rounds(), 3);
}
