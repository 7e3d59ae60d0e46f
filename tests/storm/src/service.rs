//! A real `statvent-web`: started, asked, and looked at from outside.
//!
//! Owns its process and its address. What an answer means is not known here (see `judge`). Called by `storm` and
//! `readers`.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::answer::Answer;

/// Far longer than a request takes: two collections, each with a deadline of 1 s at most.
const REQUEST_DEADLINE: Duration = Duration::from_secs(60);
const START_DEADLINE: Duration = Duration::from_secs(60);
const SAYS_ADDRESS: &str = "listening on http://";

/// A running service; killed when dropped.
pub(crate) struct Service {
    child: Mutex<Child>,
    pid: u32,
    address: SocketAddr,
    said: Arc<Mutex<Vec<String>>>,
}

impl Service {
    /// Starts the program on the directory, with so long a deadline for each process, and waits until it serves.
    pub(crate) fn start(program: &Path, pipe_dir: &Path, deadline: &str) -> io::Result<Self> {
        let mut child = Command::new(program)
            .args(["--port", "0", "--deadline", deadline, "--pipe-dir"])
            .arg(pipe_dir)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let pid = child.id();
        let said = Arc::new(Mutex::new(Vec::new()));
        let (say_address, address) = channel();
        let (lines, stderr) = (Arc::clone(&said), child.stderr.take());
        thread::spawn(move || {
            for line in
                stderr.into_iter().flat_map(|stderr| BufReader::new(stderr).lines().map_while(Result::ok))
            {
                match line.strip_prefix(SAYS_ADDRESS).and_then(|address| address.parse().ok()) {
                    Some(address) => _ = say_address.send(address),
                    None => lines.lock().unwrap_or_else(PoisonError::into_inner).push(line),
                }
            }
        });
        let child = Mutex::new(child);
        match address.recv_timeout(START_DEADLINE) {
            Ok(address) => Ok(Self { child, pid, address, said }),
            Err(_) => {
                drop(Self { child, pid, address: SocketAddr::from(([0; 4], 0)), said });
                Err(io::Error::other(format!("{} did not say where it listens", program.display())))
            }
        }
    }

    /// Asks for the stats.
    pub(crate) fn ask(&self) -> io::Result<Answer> {
        let mut stream = TcpStream::connect_timeout(&self.address, REQUEST_DEADLINE)?;
        stream.set_read_timeout(Some(REQUEST_DEADLINE))?;
        stream.write_all(b"GET /stats HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let body =
            text.split_once("\r\n\r\n").filter(|_| text.starts_with("HTTP/1.1 200 ")).map(|(_, body)| body);
        let unknown = || io::Error::other(format!("not an answer: {}", text.get(..500).unwrap_or(&text)));
        body.and_then(Answer::parse).ok_or_else(unknown)
    }

    /// What its descriptors lead to.
    pub(crate) fn descriptors(&self) -> io::Result<Vec<String>> {
        descriptors_of(self.pid)
    }

    /// The most memory that it took so far, in KiB.
    pub(crate) fn peak_kib(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        peak.trim().strip_suffix(" kB")?.parse().ok()
    }

    /// Returns what it said on standard error, but where it listens.
    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        !matches!(self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait(), Ok(None))
    }
}

/// What the descriptors of a process lead to.
pub(crate) fn descriptors_of(pid: u32) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"))?;
    // One that is closed meanwhile leads nowhere.
    let led = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    Ok(led.map(|path| path.display().to_string()).collect())
}

impl Drop for Service {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }
}
