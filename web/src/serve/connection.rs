//! One connection, from opened to closed.
//!
//! Owns how long it may live, how long each step of it may take, and its memory. It knows no path (see `routes`) and
//! accepts nothing. Called by `server` for each connection.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::places::Seat;
use super::race::{First, race};
use super::routes::Routes;
use super::write_deadline::WriteDeadline;

/// How long a connection may take once the service is to end, its last answer included.
pub(super) const DRAIN_DEADLINE: Duration = Duration::from_secs(5);
/// The memory for the head of a request.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// What all connections of a service have in common.
#[derive(Clone)]
pub(super) struct Terms {
    pub(super) routes: Arc<Routes>,
    /// The address that requests come in at.
    pub(super) served_on: IpAddr,
    /// How long a client may take to send a request, or send none on an open connection.
    pub(super) request_deadline: Duration,
    /// How long a client may take to take an answer.
    pub(super) answer_deadline: Duration,
    /// How long a connection lives before it is asked to end, so that nobody keeps a place for ever.
    pub(super) connection_life: Duration,
    /// Closed once connections are to end.
    pub(super) stopped: watch::Receiver<()>,
}

impl Terms {
    /// Answers requests until the client has no more, it takes too long, the service is to end, or somebody else needs
    /// the place.
    pub(super) async fn serve(mut self, stream: impl Read + Write + Unpin, seat: Arc<Seat>) {
        let service = service_fn(|request| {
            let (routes, served_on, seat) = (Arc::clone(&self.routes), self.served_on, Arc::clone(&seat));
            async move {
                seat.asks();
                let answer = routes.answer(served_on, &request).await;
                seat.is_answered();
                Ok::<_, Infallible>(answer)
            }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(self.request_deadline);
        // A client that says that it has no more to ask is answered all the same.
        builder.max_buf_size(MAX_HEAD_BYTES).half_close(true);
        let stream = WriteDeadline::new(stream, Arc::clone(&seat), self.answer_deadline);
        let connection = builder.serve_connection(stream, service);
        let stopped = &mut self.stopped;
        let served = pin!(async {
            let mut connection = pin!(connection);
            {
                let end = pin!(timeout(self.connection_life, stopped.changed()));
                let enough = pin!(seat.is_enough());
                let end = pin!(race(end, enough));
                if let First::Left(_) = race(connection.as_mut(), end).await {
                    return;
                }
            }
            connection.as_mut().graceful_shutdown();
            // Its last request may wait for a collection: that has its own bound, as have sending and taking. The end of the
            // service does not wait for it. What a client does to its own connection concerns nobody else.
            let cut_off = pin!(async {
                let _ = stopped.changed().await;
                sleep(DRAIN_DEADLINE).await;
            });
            race(connection, cut_off).await;
        });
        race(served, pin!(seat.evicted())).await;
    }
}
