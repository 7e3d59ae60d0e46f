//! An HTTP client, and replies with accessors for assertions.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{DEADLINE, LegacyWriter, eventually};

/// A client of one service.
#[derive(Clone)]
pub(crate) struct Client {
    agent: ureq::Agent,
    address: SocketAddr,
}

/// What a service answered.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: ureq::http::HeaderMap,
    pub(crate) text: String,
}

/// Opens connections and sends these bytes on each.
pub(crate) fn connect(client: &Client, n_clients: usize, request: &[u8]) -> Vec<TcpStream> {
    let connect = |_| {
        let mut stream = client.connect();
        stream.write_all(request).unwrap();
        stream
    };
    (0..n_clients).map(connect).collect()
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(DEADLINE))
            // Below the service's idle timeout of 5 s: a request on a connection that is being closed would fail.
            .max_idle_age(Duration::from_secs(3))
            .build();
        Self { agent: config.into(), address }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a GET. Repeats it if a legacy writer's pipe was unlinked for so long that the answer proves nothing.
    pub(crate) fn get(&self, path: &str) -> Reply {
        let mut reply = None;
        eventually("an answer while every legacy writer has a pipe", || {
            let asked_at = Instant::now();
            reply = Some(self.send("GET", path, &[]));
            !LegacyWriter::any_was_unlinked_for_long(asked_at)
        });
        reply.unwrap()
    }

    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        let uri = format!("http://{}{path}", self.address);
        let mut request = ureq::http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = self.agent.run(request.body(()).unwrap()).unwrap();
        Reply {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.body_mut().with_config().limit(64 << 20).read_to_string().unwrap(),
        }
    }

    /// Sends raw bytes and returns everything received until the service closes the connection.
    pub(crate) fn send_raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect_timeout(&self.address, DEADLINE).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|err| panic!("{err}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Returns the text of the `stats` object: numbers as written, not as a JSON library parses them.
    pub(crate) fn stats_text(&self) -> &str {
        let start = "{\"stats\":".len();
        let end = self.text.rfind(",\"timestamp\":").unwrap_or_else(|| panic!("no stats: {}", self.text));
        &self.text[start..end]
    }

    /// Returns the counts `[ok, stale, late, unreadable, ignored]`.
    pub(crate) fn counts(&self) -> [u64; 5] {
        let json = self.json();
        let processes = json["processes"].as_object().unwrap_or_else(|| panic!("no counts: {}", self.text));
        assert_eq!(processes.len(), 5, "{}", self.text);
        ["ok", "stale", "late", "unreadable", "ignored"].map(|name| processes[name].as_u64().unwrap())
    }

    /// Returns the sum of one stat.
    pub(crate) fn stat(&self, name: &str) -> Value {
        self.json()["stats"][name].clone()
    }
}
