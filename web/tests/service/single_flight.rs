//! Single-flight scrapes: waiting requests share one scrape, which starts after they arrive.
//!
//! The writer answers only when the test tells it to: until then a scrape is in flight.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::support::{Client, DEADLINE, LegacyWriter, Server, pipe_dir, unlocked_name};

/// A legacy writer that reports each reader to the test, and then waits for the lines to write.
struct PromptedWriter {
    legacy: LegacyWriter,
    reader: Receiver<()>,
    lines: Sender<Vec<u8>>,
}

impl PromptedWriter {
    fn start(dir: &std::path::Path) -> Self {
        let (reader_tx, reader) = channel();
        let (lines, lines_rx) = channel::<Vec<u8>>();
        let legacy = LegacyWriter::start_with(dir, &unlocked_name(1), move || {
            let _ = reader_tx.send(());
            lines_rx.recv_timeout(DEADLINE).unwrap_or_default()
        });
        Self { legacy, reader, lines }
    }

    fn wait_for_reader(&self) {
        self.reader.recv_timeout(DEADLINE).expect("waited for a reader");
    }

    fn write(&self, lines: &str) {
        self.lines.send(lines.into()).unwrap();
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
fn requests_that_arrive_during_a_scrape_share_the_next_one() {
    let dir = pipe_dir();
    let writer = PromptedWriter::start(dir.path());
    let server = Server::start_with_deadline(dir.path(), DEADLINE);
    let client = server.client();

    let first = send(&client);
    writer.wait_for_reader();
    let [second, third] = [send(&client), send(&client)];
    // Connections are served in order: once this one has its answer, the others have arrived.
    assert_eq!(client.get("/nope").status, 404);

    writer.write("round: 1\n");
    assert!(body(first).starts_with(r#"{"stats":{"round":1}"#));
    writer.wait_for_reader();
    writer.write("round: 2\n");
    let [second, third] = [body(second), body(third)];
    assert!(second.starts_with(r#"{"stats":{"round":2}"#), "{second}");
    assert_eq!(second, third, "one scrape for both, so the timestamps are equal");
    assert_eq!(writer.legacy.n_rounds(), 2, "two scrapes for three requests");
}

#[test]
fn clients_that_leave_cost_at_most_one_scrape() {
    let dir = pipe_dir();
    let writer = PromptedWriter::start(dir.path());
    let server = Server::start_with_deadline(dir.path(), DEADLINE);
    let client = server.client();

    let first = send(&client);
    writer.wait_for_reader();
    for _ in 0..20 {
        drop(send(&client));
    }
    assert_eq!(client.get("/nope").status, 404);
    writer.write("round: 1\n");
    assert!(body(first).starts_with(r#"{"stats":{"round":1}"#));
    // A client that closed its side may still read the answer, so one scrape runs for all of them.
    writer.wait_for_reader();
    writer.write("round: 2\n");
    let last = send(&client);
    writer.wait_for_reader();
    writer.write("round: 3\n");
    assert!(body(last).starts_with(r#"{"stats":{"round":3}"#));
    assert_eq!(writer.legacy.n_rounds(), 3);
}
