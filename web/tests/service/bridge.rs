//! The bridge: bytes from a simulated wire, published and summed with other processes.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, PipeWriter, Read as _, Write as _, pipe};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::Signal;
use statvent_core::Registry;
use statvent_posix::Recorder;

use crate::support::{Program, Server, eventually, pipe_dir, set_mode};

fn command(dir: &Path) -> Command {
    let mut command = Command::new(Program::path());
    command.args(["bridge", "--name", "board1", "--pipe-dir"]).arg(dir).stderr(Stdio::piped());
    command
}

/// Starts a bridge and waits until it publishes; returns the path of its pipe as well.
fn start(command: &mut Command) -> (Program, PathBuf) {
    let program = Program::spawn(command);
    let line = program.line("the path of its pipe");
    let path = line.strip_prefix("publishing ").unwrap_or_else(|| panic!("{line}")).into();
    (program, path)
}

/// Starts a bridge that reads from the returned pipe.
fn start_piped(dir: &Path) -> (Program, PathBuf, PipeWriter) {
    let (input, wire) = pipe().unwrap();
    let (program, path) = start(command(dir).stdin(input));
    (program, path, wire)
}

/// Both ends of a pseudo terminal with default settings, which stands in for a serial line, and its path.
fn serial_line() -> (PtyMaster, File, String) {
    // O_CLOEXEC: children of other tests must not keep the line open.
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let path = ptsname_r(&master).unwrap();
    let flags = OFlag::O_NOCTTY.bits();
    let line = OpenOptions::new().read(true).write(true).custom_flags(flags).open(&path).unwrap();
    (master, line, path)
}

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

fn eventually_sums(server: &Server, expected: &str) {
    eventually(expected, || server.stats().stats_text() == expected);
}

#[test]
fn a_board_is_summed_with_processes_and_its_pipe_is_removed_at_end_of_input() {
    static STATS: Registry<8, 0, 64> = Registry::new();
    STATS.incr("requests", 1000);
    let dir = pipe_dir();
    let _process = Recorder::builder(&STATS).directory(dir.path()).start().unwrap();
    let server = Server::start(dir.path());
    let (board, path, mut wire) = start_piped(dir.path());
    assert_eq!(path, dir.path().join(format!("board1.{}.stats", board.pid())));
    wire.write_all(b"requests: 7\r\ntemperature: 21.5\r\n").unwrap();
    let expected = r#"{"bridge.lines_skipped":0,"bridge.lines_taken":2,"requests":1007,"temperature":21.5}"#;
    eventually_sums(&server, expected);
    assert_eq!(server.stats().counts(), [2, 0, 0, 0, 0]);

    drop(wire);
    assert_eq!(board.wait().code(), Some(0));
    assert!(!path.exists(), "{}", path.display());
    assert_eq!(
        (server.stats().stats_text(), server.stats().counts()),
        (r#"{"requests":1000}"#, [1, 0, 0, 0, 0])
    );
}

#[test]
fn garbage_long_lines_and_resets_are_skipped_and_counted() {
    let dir = pipe_dir();
    let server = Server::start(dir.path());
    let (_board, _, mut wire) = start_piped(dir.path());
    wire.write_all(b"ticks: 900\r\nuptime: 90.5\r\n").unwrap();
    eventually_sums(
        &server,
        r#"{"bridge.lines_skipped":0,"bridge.lines_taken":2,"ticks":900,"uptime":90.5}"#,
    );
    // The board resets mid-line and its boot loader prints; a break on the wire reads as a zero byte.
    wire.write_all(b"ticks: 9\0\0\xff\xfe\r\nrst:0x1 (POWERON)\r\n\r\nloader v2\r\n").unwrap();
    wire.write_all(&[b'~'; 100_000]).unwrap();
    wire.write_all(b"\r\nti\0cks: 4\r\nhuge: 99999999999999999999\r\nticks: 3\r\ntick").unwrap();
    eventually_sums(&server, r#"{"bridge.lines_skipped":6,"bridge.lines_taken":3,"ticks":3,"uptime":90.5}"#);
    wire.write_all(b"s: 4\r\n").unwrap();
    eventually_sums(&server, r#"{"bridge.lines_skipped":6,"bridge.lines_taken":4,"ticks":4,"uptime":90.5}"#);
    // The board resets mid-line and prints no banner.
    wire.write_all(b"uptime: 9ticks: 1\r\nticks: 2\r\n").unwrap();
    eventually_sums(&server, r#"{"bridge.lines_skipped":7,"bridge.lines_taken":5,"ticks":2,"uptime":90.5}"#);
}

#[test]
fn a_serial_line_that_is_opened_mid_line_loses_only_that_line() {
    let dir = pipe_dir();
    let server = Server::start(dir.path());
    let (mut board_end, line, line_path) = serial_line();
    let (board, path) = start(command(dir.path()).arg(line_path).stdin(Stdio::null()));
    // The tail of `requests: 1` looks like a complete line.
    board_end.write_all(b"quests: 1\r\nrequests: 2\r\n").unwrap();
    let expected = r#"{"bridge.lines_skipped":1,"bridge.lines_taken":1,"requests":2}"#;
    eventually_sums(&server, expected);

    // The device is unplugged.
    drop((board_end, line));
    let message = board.line("the input error");
    assert_eq!(
        message,
        "statvent-web: the input cannot be read any more: check the device and start the bridge again, or let a \
         supervisor restart it: Input/output error (os error 5)"
    );
    assert_eq!(board.wait().code(), Some(1));
    assert!(!path.exists(), "{}", path.display());
}

/// 1. A terminal has its default settings: some bytes end the input, erase it or stop it, and every byte is echoed.
/// 2. Such bytes arrive on the wire.
#[test]
fn a_terminal_with_default_settings_is_read_raw_and_without_echo() {
    let dir = pipe_dir();
    let server = Server::start(dir.path());
    let (mut board_end, line, _) = serial_line();
    let (board, path) = start(command(dir.path()).stdin(line));
    board_end
        .write_all(b"midway\r\na: 1\r\n\x04b: 2\r\nreq\x7f\x15c: 3\r\n\x03\x13\x1a\r\nd: 4\r\n")
        .unwrap();
    let expected = r#"{"a":1,"bridge.lines_skipped":4,"bridge.lines_taken":2,"d":4}"#;
    eventually_sums(&server, expected);

    fcntl(&board_end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let echo = board_end.read(&mut [0; 64]).map_err(|err| err.kind());
    assert_eq!(echo, Err(ErrorKind::WouldBlock));
    board.signal(Signal::SIGTERM);
    assert_eq!(board.wait().code(), Some(0));
    assert!(!path.exists(), "{}", path.display());
}

#[test]
fn a_non_blocking_input_is_waited_for() {
    let dir = pipe_dir();
    let server = Server::start(dir.path());
    let (input, mut wire) = pipe().unwrap();
    fcntl(&input, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let (board, _) = start(command(dir.path()).stdin(input));
    for n in 1..=3 {
        wire.write_all(format!("a: {n}\n").as_bytes()).unwrap();
        let expected = format!(r#"{{"a":{n},"bridge.lines_skipped":0,"bridge.lines_taken":{n}}}"#);
        eventually_sums(&server, &expected);
    }
    drop(wire);
    assert_eq!(board.wait().code(), Some(0));
}

#[test]
fn a_shutdown_signal_removes_the_pipe_while_the_input_is_silent() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let dir = pipe_dir();
        let (board, path, _wire) = start_piped(dir.path());
        assert!(path.exists());
        board.signal(signal);
        assert_eq!(board.wait().code(), Some(0), "{signal}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{signal}");
    }
}

#[test]
fn a_flood_of_names_takes_bounded_memory_and_known_names_are_updated() {
    let dir = pipe_dir();
    let server = Server::start(dir.path());
    let (board, _, mut wire) = start_piped(dir.path());
    wire.write_all(b"good: 1\n").unwrap();
    for n in 0..200_000 {
        wire.write_all(format!("noise.{n}: {n}\n").as_bytes()).unwrap();
    }
    wire.write_all(b"good: 2\n").unwrap();
    eventually("the last line to be read", || server.stats().stat("good") == 2);
    let stats = server.stats();
    // Two of the 4096 names are the bridge's own.
    let n_names = 4096 - 2;
    assert_eq!(stats.stat("bridge.lines_taken"), n_names + 1);
    assert_eq!(stats.stat("bridge.lines_skipped"), 200_002 - n_names - 1);
    let status = fs::read_to_string(format!("/proc/{}/status", board.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB")).unwrap();
    let peak_kib: u64 = peak.trim().parse().unwrap();
    assert!(peak_kib < 16 * 1024, "{peak_kib} KiB");
}

#[test]
fn a_file_is_read_to_its_end() {
    let dir = pipe_dir();
    let input = dir.path().join("log");
    fs::write(&input, "a: 1\n").unwrap();
    let output = run(command(dir.path()).arg(&input));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.starts_with("publishing ") && message.lines().count() == 1, "{message}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "only the input file is left");
}

#[test]
fn unusable_arguments_are_reported_with_a_status() {
    let dir = pipe_dir();
    let missing = run(command(dir.path()).arg("/nowhere/tty"));
    assert_eq!(missing.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&missing.stderr),
        "statvent-web: /nowhere/tty cannot be opened: name a file or device that this user may read: No such file or \
         directory (os error 2)\n"
    );

    let directory = run(command(dir.path()).arg("/"));
    assert_eq!(directory.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&directory.stderr),
        "statvent-web: / cannot be opened: name a file or device that this user may read: is a directory\n"
    );

    set_mode(dir.path(), 0o777);
    let unsafe_dir = run(&mut command(dir.path()));
    assert_eq!(unsafe_dir.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unsafe_dir.stderr).contains("chmod 1777"), "{unsafe_dir:?}");

    let unnamed = run(Command::new(Program::path()).arg("bridge"));
    assert_eq!(unnamed.status.code(), Some(2));
    let help = run(Command::new(Program::path()).args(["bridge", "--help"]));
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&help.stdout).contains("--name NAME"), "{help:?}");
}
