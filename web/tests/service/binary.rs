//! The binary: messages, exit status and orderly shutdown.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::mpsc::channel;

use nix::sys::signal::Signal;

use crate::support::{
    DEADLINE, LONG_DEADLINE, LegacyWriter, Program, eventually, pipe_dir, set_mode, unlocked_name,
};

fn run(args: &[&str]) -> Output {
    Command::new(Program::path()).args(args).output().unwrap()
}

#[test]
fn a_request_in_flight_is_answered_after_a_shutdown_signal() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let dir = pipe_dir();
        let (reader_tx, reader) = channel();
        let (lines_tx, lines) = channel::<Vec<u8>>();
        let _legacy = LegacyWriter::start_with(dir.path(), &unlocked_name(1), move || {
            let _ = reader_tx.send(());
            lines.recv_timeout(DEADLINE).unwrap_or_default()
        });
        let program = Program::serve(dir.path(), LONG_DEADLINE);
        let client = program.client();
        let _idle = client.connect();
        let mut stream = client.connect();
        stream.write_all(b"GET /stats HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        reader.recv_timeout(DEADLINE).expect("waited for the scrape to start");
        program.signal(signal);
        eventually("new connections to be refused", || TcpStream::connect(client.address()).is_err());
        lines_tx.send(b"hits: 7\n".to_vec()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains(r#"{"stats":{"hits":7}"#), "{answer}");
        assert_eq!(program.wait().code(), Some(0));
    }
}

#[test]
fn a_port_in_use_is_reported_with_status_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = run(&["-p", &port.to_string()]);
    assert_eq!(output.status.code(), Some(1));
    let expected = format!(
        "statvent-web: cannot listen on 127.0.0.1:{port}: Address already in use (os error 98): stop what listens \
         there, or choose another --port (0 picks a free one)\n"
    );
    assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
}

#[test]
fn an_unsafe_directory_is_refused_at_start() {
    let dir = pipe_dir();
    set_mode(dir.path(), 0o777);
    let output = run(&["-p", "0", "-d", dir.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("has mode 0777") && message.contains("chmod 1777"), "{message}");
    assert!(!message.contains("listening"), "{message}");
}

#[test]
fn an_invalid_option_value_is_status_2() {
    let output = run(&["--port", "many"]);
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(message, "statvent-web: --port was given \"many\": expected a number from 0 to 65535\n");
}

#[test]
fn an_unknown_subcommand_is_status_2() {
    let output = run(&["nonsense"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "statvent-web: \"nonsense\" is no subcommand: expected bridge, or the options that --help lists\n"
    );
}

#[test]
fn help_and_version_go_to_standard_output() {
    let help = run(&["--help"]);
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("--pipe-dir DIR"));
    let version = run(&["-V"]);
    let expected = concat!("statvent-web ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!((version.status.code(), &*String::from_utf8_lossy(&version.stdout)), (Some(0), expected));
}

#[test]
fn the_path_option_and_the_pipe_dir_variable_are_used() {
    let dir = pipe_dir();
    let _legacy = LegacyWriter::start(dir.path(), &unlocked_name(1), "hits: 1\n");
    let mut command = Command::new(Program::path());
    command.args(["-p0", "-l", "/all", "--deadline=30s"]).env("STATVENT_PIPE_DIR", dir.path());
    let program = Program::spawn(command.stderr(std::process::Stdio::piped()));
    let client = program.client();
    assert_eq!(client.get("/all").stats_text(), r#"{"hits":1}"#);
    assert_eq!(client.get("/stats").status, 404);
}

#[test]
fn a_recurring_warning_is_logged_once() {
    let dir = pipe_dir();
    let mut lines = ["hits: 1\nhits 2\n", "hits: 1\n"].into_iter().cycle();
    let _legacy =
        LegacyWriter::start_with(dir.path(), &unlocked_name(1), move || lines.next().unwrap().into());
    let program = Program::serve(dir.path(), LONG_DEADLINE);
    let client = program.client();
    for _ in 0..20 {
        assert_eq!(client.get("/stats").stats_text(), r#"{"hits":1}"#);
    }
    program.signal(Signal::SIGTERM);
    assert_eq!(program.remaining_lines().len(), 1);
}

#[test]
fn a_lasting_warning_is_logged_once() {
    let dir = pipe_dir();
    let _legacy = LegacyWriter::start(dir.path(), &unlocked_name(1), "hits: 1\nhits 2\n: x\n");
    let _good = LegacyWriter::start(dir.path(), &unlocked_name(2), "hits: 1\n");
    let program = Program::serve(dir.path(), LONG_DEADLINE);
    let client = program.client();
    for _ in 0..3 {
        assert_eq!(client.get("/stats").stats_text(), r#"{"hits":2}"#);
    }
    let expected = format!(
        "statvent-web: {}: malformed lines skipped: 2: expected \"name: number\" on each: correct the program \
         that writes them",
        unlocked_name(1)
    );
    assert_eq!(program.line("the malformed lines"), expected);
    program.signal(Signal::SIGTERM);
    assert_eq!(program.remaining_lines(), [""; 0]);
}
