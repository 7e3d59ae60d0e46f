//! What holds for all bytes that a client can send: the service never panics, ends the connection, and all that it says
//! are well-formed answers. Called by the fuzz target and by the test that replays inputs.

use std::cell::LazyCell;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use serde_json::value::RawValue;
use statvent_web::serve::{Config, Service};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::{Builder, Runtime};

/// Room for all answers to one input. hyper 1.12 asserts, in debug builds alone, that an answer was taken before nonsense
/// that follows its request is answered; that ends one connection, and is not what is looked for here.
const ROOM_BYTES: usize = 1 << 20;
const DEADLINE: Duration = Duration::from_secs(20);
const STATUSES: [&str; 8] = ["200", "400", "403", "404", "405", "414", "431", "505"];

/// A service of an empty directory, and what it runs on.
struct Served {
    runtime: Runtime,
    service: Service,
    _pipe_dir: TempDir,
}

impl Served {
    fn start() -> Self {
        let pipe_dir = tempfile::tempdir().expect("a temporary directory");
        let config = Config { pipe_dir: pipe_dir.path().into(), ..Config::default() };
        let service = Service::start(config).expect("a service");
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        Self { runtime, service, _pipe_dir: pipe_dir }
    }

    /// Sends all, says that there is no more, and returns all that comes.
    fn answers(&self, request: &[u8]) -> Vec<u8> {
        let (client, stream) = tokio::io::duplex(ROOM_BYTES);
        let request = request.to_vec();
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        self.runtime.block_on(async {
            let (mut reading, mut writing) = tokio::io::split(client);
            let sent = tokio::spawn(async move {
                // Refused once the service has closed.
                let _ = writing.write_all(&request).await;
                let _ = writing.shutdown().await;
            });
            let told = tokio::spawn(async move {
                let mut told = Vec::new();
                reading.read_to_end(&mut told).await.map(|_| told)
            });
            let served = self.service.serve_stream(TokioIo::new(stream), loopback);
            tokio::time::timeout(DEADLINE, served).await.expect("the connection ends");
            sent.await.expect("all was sent");
            told.await.expect("all was read").expect("the stream can be read")
        })
    }
}

pub(crate) fn http(input: &[u8]) {
    thread_local! {
        static SERVED: LazyCell<Served> = LazyCell::new(Served::start);
    }
    let told = SERVED.with(|served| served.answers(input));
    let mut rest = &told[..];
    while !rest.is_empty() {
        rest = answer(rest).unwrap_or_else(|| panic!("no answer: {}", rest.escape_ascii()));
    }
}

/// Takes one answer off and returns what follows it; `None` if it is none.
fn answer(told: &[u8]) -> Option<&[u8]> {
    let head_len = told.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let (head, rest) = (str::from_utf8(&told[..head_len]).ok()?, &told[head_len + 4..]);
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
