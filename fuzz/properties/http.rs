//! Property of the HTTP service: any bytes get well-formed answers, and the connection ends.
//!
//! The service must not panic.

use std::cell::LazyCell;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use serde_json::value::RawValue;
use statvent_web::serve::{Config, Service};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::{Builder, Runtime};

/// Buffer for all answers to one input. Only in debug builds, hyper 1.12 asserts that an answer was read before it answers
/// malformed bytes that follow the request. That ends one connection, and this property does not look for it.
const BUFFER_BYTES: usize = 1 << 20;
const DEADLINE: Duration = Duration::from_secs(20);
const STATUSES: [&str; 8] = ["200", "400", "403", "404", "405", "414", "431", "505"];

/// A service of an empty directory, and its runtime.
struct TestService {
    runtime: Runtime,
    service: Service,
    _pipe_dir: TempDir,
}

impl TestService {
    fn start() -> Self {
        let pipe_dir = tempfile::tempdir().expect("a temporary directory");
        let config = Config { pipe_dir: pipe_dir.path().into(), ..Config::default() };
        let service = Service::start(config).expect("a service");
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        Self { runtime, service, _pipe_dir: pipe_dir }
    }

    /// Sends `request`, closes that direction, and returns everything that the service sends.
    fn exchange(&self, request: &[u8]) -> Vec<u8> {
        let (client, stream) = tokio::io::duplex(BUFFER_BYTES);
        let request = request.to_vec();
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        self.runtime.block_on(async {
            let (mut reader, mut writer) = tokio::io::split(client);
            let sent = tokio::spawn(async move {
                // Fails once the service has closed the connection.
                let _ = writer.write_all(&request).await;
                let _ = writer.shutdown().await;
            });
            let received = tokio::spawn(async move {
                let mut bytes = Vec::new();
                reader.read_to_end(&mut bytes).await.map(|_| bytes)
            });
            let served = self.service.serve_stream(TokioIo::new(stream), loopback);
            tokio::time::timeout(DEADLINE, served).await.expect("the connection ends");
            sent.await.expect("the request was sent");
            received.await.expect("the answers were read").expect("the stream can be read")
        })
    }
}

pub(crate) fn http(input: &[u8]) {
    thread_local! {
        static SERVICE: LazyCell<TestService> = LazyCell::new(TestService::start);
    }
    let received = SERVICE.with(|service| service.exchange(input));
    let mut rest = &received[..];
    while !rest.is_empty() {
        rest = skip_answer(rest).unwrap_or_else(|| panic!("not an answer: {}", rest.escape_ascii()));
    }
}

/// Skips one answer and returns the rest; `None` if it is malformed.
fn skip_answer(bytes: &[u8]) -> Option<&[u8]> {
    let head_len = bytes.windows(4).position(|end| end == b"\r\n\r\n")?;
    let (head, rest) = (str::from_utf8(&bytes[..head_len]).ok()?, &bytes[head_len + 4..]);
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.get(2..5)?;
    let mut body_len = 0;
    for line in lines {
        let (name, value) = line.split_once(": ")?;
        if name == "content-length" {
            body_len = value.parse().ok()?;
        }
        if name.is_empty() || line.bytes().any(|byte| byte.is_ascii_control()) {
            return None;
        }
    }
    // The answer to HEAD has a length and no body; a body begins with a brace.
    if rest.first() != Some(&b'{') {
        return STATUSES.contains(&status).then_some(rest);
    }
    let (body, rest) = rest.split_at_checked(body_len)?;
    serde_json::from_slice::<&RawValue>(body).ok()?;
    STATUSES.contains(&status).then_some(rest)
}
