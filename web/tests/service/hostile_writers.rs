//! Hostile writers: malformed, oversized, endless or hanging output costs only their own stats.

use std::time::Duration;

use crate::support::{LegacyWriter, Server, eventually, pipe_dir, unlocked_name};

const GOOD: &str = "hits: 1\n";

#[test]
fn malformed_lines_are_skipped_one_by_one() {
    let dir = pipe_dir();
    let mut lines = b"\xff\xfe: 1\n: 4\nno colon\n\nx: 0x10\nx: 1_000\n\xc3\xa9: 2\nq\"\\: 3\n".to_vec();
    lines.extend([b'y'; 10_000]);
    lines.extend(b": 1\nafter: 5\ntorn: 6");
    let _bad = LegacyWriter::start(dir.path(), &unlocked_name(1), lines);
    let _good = LegacyWriter::start(dir.path(), &unlocked_name(2), GOOD);
    let server = Server::start(dir.path());
    let reply = server.stats();
    let expected = r#"{"":4,"after":5,"hits":1,"q\"\\":3,"é":2,"\\xff\\xfe":1}"#;
    assert_eq!((reply.stats_text(), reply.counts()), (expected, [2, 0, 0, 0, 0]));
}

#[test]
fn too_many_stats_and_too_many_bytes_are_unreadable() {
    let dir = pipe_dir();
    let many: String = (0..70_000).map(|n| format!("s{n}: 1\n")).collect();
    let _many = LegacyWriter::start(dir.path(), &unlocked_name(1), many);
    let _long = LegacyWriter::start(dir.path(), &unlocked_name(2), "hits: 1\n".repeat(600_000));
    let _good = LegacyWriter::start(dir.path(), &unlocked_name(3), GOOD);
    let server = Server::start(dir.path());
    for _ in 0..2 {
        let reply = server.stats();
        assert_eq!((reply.stats_text(), reply.counts()), (r#"{"hits":1}"#, [1, 0, 0, 2, 0]));
    }
}

#[test]
fn an_integer_beyond_the_range_of_floats_is_null() {
    let dir = pipe_dir();
    let _large =
        LegacyWriter::start(dir.path(), &unlocked_name(1), format!("huge: {}\nhits: 1\n", "9".repeat(4000)));
    let _good = LegacyWriter::start(dir.path(), &unlocked_name(2), GOOD);
    let reply = Server::start(dir.path()).stats();
    assert_eq!((reply.stats_text(), reply.counts()), (r#"{"hits":2,"huge":null}"#, [2, 0, 0, 0, 0]));
}

#[test]
fn an_endless_writer_is_cut_off() {
    let dir = pipe_dir();
    let name = unlocked_name(1);
    let _endless = LegacyWriter::start(dir.path(), &name, "endless: 1\n".repeat(1_000_000));
    let _good = LegacyWriter::start(dir.path(), &unlocked_name(2), GOOD);
    let server = Server::start(dir.path());
    let reply = server.stats();
    assert_eq!((reply.stats_text(), reply.counts()), (r#"{"hits":1}"#, [1, 0, 0, 1, 0]));
}

#[test]
fn a_writer_that_hangs_mid_snapshot_is_late_and_not_counted() {
    let dir = pipe_dir();
    let path = dir.path().join(unlocked_name(1));
    crate::support::make_fifo(&path);
    let _good = LegacyWriter::start(dir.path(), &unlocked_name(2), GOOD);
    let server = Server::start_with_deadline(dir.path(), Duration::from_millis(300));
    // Opened for both directions, so that opening does not wait for a reader.
    let mut hung = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    std::io::Write::write_all(&mut hung, b"half: 1\nof it").unwrap();
    for _ in 0..3 {
        eventually("the other writer to be read", || server.stats().counts() == [1, 0, 1, 0, 0]);
        assert_eq!(server.stats().stats_text(), r#"{"hits":1}"#);
    }
    std::io::Write::write_all(&mut hung, b": 2\n").unwrap();
    drop(hung);
    std::fs::remove_file(&path).unwrap();
    let _recovered = LegacyWriter::start(dir.path(), &unlocked_name(1), "half: 1\nof it: 2\n");
    eventually("the writer to be read", || server.stats().counts() == [2, 0, 0, 0, 0]);
    assert_eq!(server.stats().stats_text(), r#"{"half":1,"hits":1,"of it":2}"#);
}
