//! One connection, from accepted to closed.
//!
//! Owns the client's deadline and the buffer for the head of a request. Paths are in `routes`, accepting is in `server`.

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
use crate::limits::MAX_HEAD_BYTES;

/// What all connections of a service share.
#[derive(Clone)]
pub(super) struct ConnConfig {
    pub(super) routes: Arc<Routes>,
    /// How long a client may take from connecting, or from its last answer, to its next request.
    pub(super) client_deadline: Duration,
    /// One permit for each connection that may still be accepted.
    pub(super) permits: Arc<Semaphore>,
}

impl ConnConfig {
    /// Answers requests until the client closes the connection, misses its deadline, or the service shuts down.
    ///
    /// `served_on` is the local address of the connection.
    pub(super) async fn serve(
        self,
        served_on: IpAddr,
        stream: impl Read + Write + Unpin + 'static,
        shutdown: Watcher,
    ) {
        // When the service began to wait for the client; `None` while the client waits for an answer.
        let waiting_since = watch::Sender::new(Some(Instant::now()));
        let service = service_fn(|request| {
            let (config, waiting_since) = (&self, &waiting_since);
            // hyper polls this future only after the previous answer is written. So the deadline also ends a client that
            // sends requests and reads no answers.
            async move {
                waiting_since.send_replace(None);
                let mut answer = config.routes.answer(served_on, &request).await;
                waiting_since.send_replace(Some(Instant::now()));
                if config.permits.available_permits() == 0 {
                    // Other clients may be waiting for a connection, and this one may never stop sending requests.
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let mut builder = http1::Builder::new();
        // A client may close its sending half after the last request, and is still answered.
        builder.max_buf_size(MAX_HEAD_BYTES).half_close(true);
        let mut connection = pin!(shutdown.watch(builder.serve_connection(stream, service)));
        loop {
            let now = Instant::now();
            let until = waiting_since.borrow().unwrap_or(now) + self.client_deadline;
            // An error of one connection affects no other, so it is ignored.
            if until <= now || timeout_at(until, connection.as_mut()).await.is_ok() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    //! In paused time: it advances only as a test asks for it, or when every task waits.

    use super::*;
    use crate::serve::{Config, Service};
    use hyper_util::rt::TokioIo;
    use std::net::Ipv4Addr;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::{advance, pause};

    const DEADLINE: Duration = Duration::from_secs(10);
    const REQUEST: &[u8] = b"GET /nope HTTP/1.1\r\nHost: localhost\r\n\r\n";

    /// Serves one client over a connection that buffers `n_bytes` in each direction.
    fn serve(n_bytes: usize, client: impl AsyncFnOnce(DuplexStream) + 'static) {
        let pipe_dir = tempfile::tempdir().unwrap();
        let config =
            Config { pipe_dir: pipe_dir.path().into(), client_deadline: DEADLINE, ..Config::default() };
        let service = Service::start(config).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            pause();
            let (client_end, server_end) = duplex(n_bytes);
            tokio::join!(
                client(client_end),
                service.serve_stream(TokioIo::new(server_end), Ipv4Addr::LOCALHOST.into())
            );
        });
    }

    /// Reads one byte a second until the end; returns the number of bytes and the time.
    async fn read_slowly(stream: &mut DuplexStream) -> (usize, Duration) {
        let (begin, mut n_bytes) = (Instant::now(), 0);
        while stream.read(&mut [0]).await.unwrap() > 0 {
            n_bytes += 1;
            advance(Duration::from_secs(1)).await;
        }
        (n_bytes, begin.elapsed())
    }

    #[test]
    fn a_client_that_receives_slowly_is_disconnected() {
        serve(64, async |mut stream| {
            stream.write_all(REQUEST).await.unwrap();
            let (n_bytes, elapsed) = read_slowly(&mut stream).await;
            assert!((DEADLINE.as_secs() as usize..100).contains(&n_bytes), "{n_bytes} bytes");
            assert!(elapsed > DEADLINE);
        });
    }

    #[test]
    fn a_client_that_sends_slowly_is_disconnected() {
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
    fn each_request_starts_a_new_deadline() {
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
