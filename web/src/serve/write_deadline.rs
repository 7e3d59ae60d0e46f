//! A stream that gives up on a peer that does not take what is written.
//!
//! Owns the time from the first byte that has to wait until all is written. It reads and writes as the stream
//! beneath it does. Called by `server`, which puts every connection into one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::time::{Sleep, sleep};

use super::places::Seat;

/// A stream whose writing fails with `TimedOut` when what was to be written is not taken in time.
///
/// Progress wins no time: a peer that takes a byte now and then holds its place no longer than one that takes none.
pub(super) struct WriteDeadline<S> {
    stream: S,
    /// Whose answers these are.
    seat: Arc<Seat>,
    deadline: Duration,
    /// Runs while something waits to be written.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> WriteDeadline<S> {
    pub(super) const fn new(stream: S, seat: Arc<Seat>, deadline: Duration) -> Self {
        Self { stream, seat, deadline, waiting: None }
    }

    /// Passes on what came of writing, unless that has waited for too long.
    fn limit<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if self.waiting.is_none() && written.is_pending() {
            self.waiting = Some(Box::pin(sleep(self.deadline)));
        }
        let is_late = self.waiting.as_mut().is_some_and(|waiting| waiting.as_mut().poll(cx).is_ready());
        if is_late { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { written }
    }
}

impl<S: Read + Unpin> Read for WriteDeadline<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: Write + Unpin> Write for WriteDeadline<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.limit(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.limit(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Called when there is nothing more to write.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        ready!(self.limit(cx, flushed))?;
        self.waiting = None;
        self.seat.has_taken_all();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut_down = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.limit(cx, shut_down)
    }
}

#[cfg(test)]
mod tests {
    //! In a time that stands still but for what a test adds to it.

    use super::*;
    use std::future::poll_fn;
    use tokio::time::{Instant, advance, pause};

    const DEADLINE: Duration = Duration::from_secs(10);

    /// Takes a byte each other time that it is asked.
    struct Slow {
        takes: bool,
    }

    impl Write for Slow {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            self.takes = !self.takes;
            cx.waker().wake_by_ref();
            if self.takes { Poll::Ready(Ok(1)) } else { Poll::Pending }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    async fn write(stream: &mut WriteDeadline<Slow>) -> io::Result<usize> {
        poll_fn(|cx| Pin::new(&mut *stream).poll_write(cx, b"answer")).await
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            pause();
            future.await
        })
    }

    #[test]
    fn a_peer_that_takes_a_little_now_and_then_is_given_up() {
        run(async {
            let mut stream = WriteDeadline::new(Slow { takes: false }, Arc::default(), DEADLINE);
            let begin = Instant::now();
            let err = loop {
                match write(&mut stream).await {
                    Ok(n_bytes) => assert_eq!(n_bytes, 1),
                    Err(err) => break err,
                }
                advance(DEADLINE / 10).await;
            };
            assert_eq!(err.kind(), io::ErrorKind::TimedOut);
            assert!((DEADLINE..2 * DEADLINE).contains(&begin.elapsed()), "{:?}", begin.elapsed());
        });
    }

    #[test]
    fn what_was_taken_whole_costs_the_next_answer_no_time() {
        run(async {
            let mut stream = WriteDeadline::new(Slow { takes: false }, Arc::default(), DEADLINE);
            for _ in 0..5 {
                for _ in 0..2 {
                    assert_eq!(write(&mut stream).await.unwrap(), 1);
                    advance(DEADLINE / 3).await;
                }
                poll_fn(|cx| Pin::new(&mut stream).poll_flush(cx)).await.unwrap();
            }
        });
    }
}
