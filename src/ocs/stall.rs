//! A client's connection: it holds its place until it ends, what the client sends is counted, and it fails if the client reads
//! answers too slowly.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::activity::Activity;
use crate::patience::{Pace, Patience};
use crate::shares::Place;

/// How often a wait is checked: places may have become scarce.
const LOOK: Duration = Duration::from_secs(5);

/// Writes fail with [`io::ErrorKind::TimedOut`] if they are slower than the pace. Reads may take as long as they like.
#[derive(Debug)]
pub(crate) struct Stall<T> {
    io: T,
    patience: Patience,
    /// Runs while a write is blocked.
    waiting: Option<Pin<Box<Sleep>>>,
    activity: Arc<Activity>,
    /// The connection's place; it keeps it when it becomes a tunnel.
    place: Place,
}

impl<T> Stall<T> {
    pub(super) const fn new(io: T, pace: Pace, activity: Arc<Activity>, place: Place) -> Self {
        Self {
            io,
            patience: Patience::new(pace),
            waiting: None,
            activity,
            place,
        }
    }

    /// Lets a blocked write wait no longer than the pace allows.
    fn bounded<R>(
        &mut self,
        cx: &mut Context<'_>,
        write: Poll<io::Result<R>>,
        bytes: impl Fn(&R) -> usize,
    ) -> Poll<io::Result<R>> {
        if let Poll::Ready(outcome) = write {
            self.waiting = None;
            self.patience
                .moved(Instant::now(), outcome.as_ref().map_or(0, bytes));
            return Poll::Ready(outcome);
        }
        loop {
            let left = self.patience.wait(Instant::now(), self.place.scarce());
            if left == Duration::ZERO {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            let look = left.min(LOOK);
            let waiting = self
                .waiting
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(look)));
            if waiting.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.waiting = None;
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Stall<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        self.activity.read(buf.filled().len().saturating_sub(before));
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Stall<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.io).poll_write(cx, buf);
        self.bounded(cx, write, |bytes| *bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.bounded(cx, write, |bytes| *bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flush = Pin::new(&mut self.io).poll_flush(cx);
        self.bounded(cx, flush, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shutdown = Pin::new(&mut self.io).poll_shutdown(cx);
        self.bounded(cx, shutdown, |()| 0)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;
    use crate::shares::Shares;

    fn watched<T>(io: T, budget: u64, rate: u32) -> Stall<T> {
        let budget = Duration::from_millis(budget);
        let pace = Pace {
            budget,
            scarce: budget,
            rate,
        };
        let place = Shares::new(1).take_for_many().unwrap();
        Stall::new(io, pace, Activity::new(Instant::now()), place)
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_is_given_up_and_a_slow_one_is_not() {
        let (near, far) = duplex(4);
        let mut stall = watched(near, 50, 500);
        let error = stall.write_all(b"too much for it").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(far);

        let (near, mut far) = duplex(4);
        let mut stall = watched(near, 10_000, 1);
        let reading = tokio::spawn(async move {
            let mut taken = Vec::new();
            let mut some = [0; 4];
            while let Ok(count @ 1..) = far.read(&mut some).await {
                taken.extend_from_slice(&some[..count]);
                tokio::time::sleep(Duration::from_millis(60)).await;
            }
            taken
        });
        stall.write_all(b"slowly but surely it goes").await.unwrap();
        drop(stall);
        assert_eq!(reading.await.unwrap(), b"slowly but surely it goes");
    }

    #[tokio::test]
    async fn a_reader_that_takes_a_byte_now_and_then_is_given_up() {
        let (near, mut far) = duplex(1);
        let mut stall = watched(near, 1_000, 1_000_000);
        tokio::spawn(async move {
            while far.read_u8().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let error = stall.write_all(&[0; 10_000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
