//! An HTTP client, and replies that are easy to check.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{DEADLINE, Legacy, eventually};

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

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(DEADLINE))
            // Long before a service closes an idle connection: one that is being closed must not be used again.
            .max_idle_age(Duration::from_secs(3))
            .build();
        Self { agent: config.into(), address }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks; and again where a legacy writer was without a name for so long that the answer says nothing.
    pub(crate) fn get(&self, path: &str) -> Reply {
        let mut reply = None;
        eventually("an answer while all legacy writers have names", || {
            let asked_at = Instant::now();
            reply = Some(self.send("GET", path, &[]));
            !Legacy::was_one_nameless(asked_at)
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

    /// Sends bytes as they are and returns all that comes until the service closes.
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

    /// The text of the object of sums: numbers as they stand there, not as a JSON library reads them.
    pub(crate) fn stats_text(&self) -> &str {
        let start = "{\"stats\":".len();
        let end = self.text.rfind(",\"timestamp\":").unwrap_or_else(|| panic!("no stats: {}", self.text));
        &self.text[start..end]
    }

    /// How the processes stand: ok, stale, late, unreadable, ignored.
    pub(crate) fn counts(&self) -> [u64; 5] {
        let json = self.json();
        let processes = json["processes"].as_object().unwrap_or_else(|| panic!("no counts: {}", self.text));
        assert_eq!(processes.len(), 5, "{}", self.text);
        ["ok", "stale", "late", "unreadable", "ignored"].map(|name| processes[name].as_u64().unwrap())
    }

    /// The sum of one stat.
    pub(crate) fn stat(&self, name: &str) -> Value {
        self.json()["stats"][name].clone()
    }
}
