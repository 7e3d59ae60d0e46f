//! A `statvent-web` process under test: its start, its HTTP client, and its resources.
//!
//! Owns the process and its address. It does not check responses: that is `verify`'s part.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::response::Response;

/// 60 s: a request takes at most two scrapes of 1 s each; the rest is for a busy machine.
const REQUEST_DEADLINE: Duration = Duration::from_secs(60);
/// 60 s: the start takes milliseconds; the rest is for a busy machine.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// The prefix of the line on standard error that ends with the address.
const ADDRESS_PREFIX: &str = "listening on http://";

/// A running service. It is killed when dropped.
pub(crate) struct Service {
    child: Mutex<Child>,
    pid: u32,
    address: SocketAddr,
    stderr_lines: Arc<Mutex<Vec<String>>>,
}

impl Service {
    /// Starts the program on the directory with this deadline per process. Waits until it listens.
    pub(crate) fn start(program: &Path, pipe_dir: &Path, deadline: &str) -> io::Result<Self> {
        let mut child = Command::new(program)
            .args(["--port", "0", "--deadline", deadline, "--pipe-dir"])
            .arg(pipe_dir)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let pid = child.id();
        let stderr_lines = Arc::new(Mutex::new(Vec::new()));
        let (address_sender, address) = channel();
        let (lines, stderr) = (Arc::clone(&stderr_lines), child.stderr.take());
        thread::spawn(move || {
            for line in
                stderr.into_iter().flat_map(|stderr| BufReader::new(stderr).lines().map_while(Result::ok))
            {
                match line.strip_prefix(ADDRESS_PREFIX).and_then(|address| address.parse().ok()) {
                    Some(address) => _ = address_sender.send(address),
                    None => lines.lock().unwrap_or_else(PoisonError::into_inner).push(line),
                }
            }
        });
        let child = Mutex::new(child);
        match address.recv_timeout(START_DEADLINE) {
            Ok(address) => Ok(Self { child, pid, address, stderr_lines }),
            Err(_) => {
                drop(Self { child, pid, address: SocketAddr::from(([0; 4], 0)), stderr_lines });
                Err(io::Error::other(format!(
                    "{} did not print its address within {START_DEADLINE:?}",
                    program.display()
                )))
            }
        }
    }

    /// Requests the stats once.
    pub(crate) fn get_stats(&self) -> io::Result<Response> {
        let mut stream = TcpStream::connect_timeout(&self.address, REQUEST_DEADLINE)?;
        stream.set_read_timeout(Some(REQUEST_DEADLINE))?;
        stream.write_all(b"GET /stats HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let body =
            text.split_once("\r\n\r\n").filter(|_| text.starts_with("HTTP/1.1 200 ")).map(|(_, body)| body);
        let unexpected = || {
            let start = text.get(..500).unwrap_or(&text);
            io::Error::other(format!("found another response, expected status 200 and stats: {start}"))
        };
        body.and_then(Response::parse).ok_or_else(unexpected)
    }

    /// Returns the files behind its descriptors.
    pub(crate) fn descriptors(&self) -> io::Result<Vec<String>> {
        descriptors_of(self.pid)
    }

    /// Its peak resident memory, in KiB.
    pub(crate) fn peak_kib(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        peak.trim().strip_suffix(" kB")?.parse().ok()
    }

    /// Returns the lines that it printed on standard error, without its address.
    pub(crate) fn stderr_lines(&self) -> Vec<String> {
        self.stderr_lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns whether the process has ended.
    pub(crate) fn has_ended(&self) -> bool {
        !matches!(self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait(), Ok(None))
    }
}

/// Returns the files behind the descriptors of a process.
pub(crate) fn descriptors_of(pid: u32) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"))?;
    // A descriptor that was closed in between has no link any more.
    let paths = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    Ok(paths.map(|path| path.display().to_string()).collect())
}

impl Drop for Service {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }
}
