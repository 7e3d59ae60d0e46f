//! One connection, from accepted to closed.
//!
//! Owns the one time limit of a client, and the memory for the head of a request. It knows no path (see `routes`) and
//! accepts nothing (see `server`).

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{CONNECTION, HeaderValue};
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::server::graceful::Watcher;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout_at};

use super::routes::Routes;

/// The memory for the head of a request.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// What all connections of a service have in common.
#[derive(Clone)]
pub(super) struct ConnConfig {
    pub(super) routes: Arc<Routes>,
    /// How long a client may take from its last answer, or from connecting, to its next request.
    pub(super) client_deadline: Duration,
    /// One permit for each connection that may still be accepted.
    pub(super) free: Arc<Semaphore>,
}

impl ConnConfig {
    /// Answers requests until the client has no more, it is late, or the service shuts down.
    ///
    /// `served_on` is the address that requests come in at.
    pub(super) async fn serve(
        self,
        served_on: IpAddr,
        stream: impl Read + Write + Unpin + 'static,
        shutdown: Watcher,
    ) {
        // Since when the client is waited for; none while it waits for an answer.
        let waiting_since = watch::Sender::new(Some(Instant::now()));
        let service = service_fn(|request| {
            let (config, waiting_since) = (&self, &waiting_since);
            // hyper polls this only once the answer before it is written, so that a client which sends requests and takes
            // no answers is late all the same.
            async move {
                waiting_since.send_replace(None);
                let mut answer = config.routes.answer(served_on, &request).await;
                waiting_since.send_replace(Some(Instant::now()));
                if config.free.available_permits() == 0 {
                    // Others may be waiting, also where this client never stops asking.
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let mut builder = http1::Builder::new();
        // A client that says that it has no more to ask is answered all the same.
        builder.max_buf_size(MAX_HEAD_BYTES).half_close(true);
        let mut connection = pin!(shutdown.watch(builder.serve_connection(stream, service)));
        loop {
            let now = Instant::now();
            let until = waiting_since.borrow().unwrap_or(now) + self.client_deadline;
            // What a client does to its own connection concerns nobody else.
            if until <= now || timeout_at(until, connection.as_mut()).await.is_ok() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    //! In a time that stands still until everything waits, but for what a test adds to it.

    use super::*;
    use crate::serve::{Config, Service};
    use hyper_util::rt::TokioIo;
    use std::net::Ipv4Addr;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::{advance, pause};

    const DEADLINE: Duration = Duration::from_secs(10);
    const REQUEST: &[u8] = b"GET /nope HTTP/1.1\r\nHost: localhost\r\n\r\n";

    /// Serves one client, whose connection holds so many bytes on the way to it.
    fn serve(n_bytes: usize, client: impl AsyncFnOnce(DuplexStream) + 'static) {
        let pipe_dir = tempfile::tempdir().unwrap();
        let config =
            Config { pipe_dir: pipe_dir.path().into(), client_deadline: DEADLINE, ..Config::default() };
        let service = Service::start(config).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            pause();
            let (ours, theirs) = duplex(n_bytes);
            tokio::join!(
                client(ours),
                service.serve_stream(TokioIo::new(theirs), Ipv4Addr::LOCALHOST.into())
            );
        });
    }

    /// Reads a byte a second, and returns how many there are and how long that took.
    async fn read_slowly(stream: &mut DuplexStream) -> (usize, Duration) {
        let (begin, mut n_bytes) = (Instant::now(), 0);
        while stream.read(&mut [0]).await.unwrap() > 0 {
            n_bytes += 1;
            advance(Duration::from_secs(1)).await;
        }
        (n_bytes, begin.elapsed())
    }

    #[test]
    fn a_client_that_takes_a_little_now_and_then_is_disconnected() {
        serve(64, async |mut stream| {
            stream.write_all(REQUEST).await.unwrap();
            let (n_bytes, elapsed) = read_slowly(&mut stream).await;
            assert!((DEADLINE.as_secs() as usize..100).contains(&n_bytes), "{n_bytes}, then the end");
            assert!(elapsed > DEADLINE);
        });
    }

    #[test]
    fn a_client_that_sends_a_little_now_and_then_is_disconnected() {
        serve(4096, async |mut stream| {
            let begin = Instant::now();
            for byte in REQUEST {
                if stream.write_all(&[*byte]).await.is_err() {
                    break;
                }
                advance(Duration::from_secs(1)).await;
            }
            assert!(begin.elapsed() < 2 * DEADLINE);
        });
    }

    #[test]
    fn each_request_begins_a_new_time() {
        serve(4096, async |mut stream| {
            for _ in 0..5 {
                advance(DEADLINE * 2 / 3).await;
                stream.write_all(REQUEST).await.unwrap();
                assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
            }
            let begin = Instant::now();
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "silent for too long");
            assert_eq!(begin.elapsed().as_secs(), DEADLINE.as_secs());
        });
    }
}
