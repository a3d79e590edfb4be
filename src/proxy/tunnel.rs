//! Upgraded connections: bytes are copied both ways, until one side closes or both are silent for too long.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Joins the two sides when both have switched.
pub(super) async fn run(client: OnUpgrade, nextcloud: OnUpgrade, silence: Duration) {
    let (client, nextcloud) = match tokio::try_join!(client, nextcloud) {
        Ok(both) => both,
        Err(error) => return tracing::debug!(%error, "a connection was not upgraded"),
    };
    let moved = Arc::new(AtomicU64::new(0));
    let counted = |io| Counted {
        io: TokioIo::new(io),
        moved: Arc::clone(&moved),
    };
    let (mut client, mut nextcloud) = (counted(client), counted(nextcloud));
    let copying = tokio::io::copy_bidirectional(&mut client, &mut nextcloud);
    tokio::pin!(copying);
    let mut seen = 0;
    loop {
        tokio::select! {
            ended = &mut copying => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "an upgraded connection ended");
                }
                return;
            }
            () = tokio::time::sleep(silence) => {
                let now = moved.load(Ordering::Relaxed);
                if now == seen {
                    return tracing::debug!("an upgraded connection was silent for too long");
                }
                seen = now;
            }
        }
    }
}

/// Counts what is read.
struct Counted<T> {
    io: T,
    moved: Arc<AtomicU64>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        let count = buf.filled().len() - before;
        self.moved.fetch_add(count as u64, Ordering::Relaxed);
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
