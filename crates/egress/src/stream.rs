//! The byte stream under a connection, and how much of it is read.
//!
//! Guarantees: a peer that sends more than its answers can need is cut off, whatever it sends and in whichever
//! protocol: endless heads, interim responses, pings, settings, continuations. What is counted are the bytes on the
//! wire, before any of them is understood.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::trust::certificate_verdict;

/// How many bytes may be read while no request is in flight: a TLS handshake, then HTTP/2's own frames.
const IDLE_ALLOWANCE: i64 = 256 * 1024;
/// How many more bytes may be read for each request in flight: 64 KiB of head, 64 KiB of body, a window's worth beyond it, and their framing. It also
/// bounds the memory that a hostile receiver can make us use: interim responses over HTTP/2 take half as much again.
const REQUEST_ALLOWANCE: i64 = 512 * 1024;

/// Anything that carries bytes both ways.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The peer sent more than any answer needs.
#[derive(Debug, thiserror::Error)]
#[error("the receiver sends without end; the connection was closed")]
struct Flood;

/// What broke a connection below HTTP, which HTTP's own error does not tell.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// With a text that says what to do.
    Tls(String),
    Flood,
}

/// How many bytes may still be read from one connection, and what broke it. Shared by the stream and its user.
#[derive(Debug, Clone)]
pub(crate) struct Meter(Arc<Gauge>);

#[derive(Debug)]
struct Gauge {
    left: AtomicI64,
    /// Bytes that the operating system has taken.
    written: AtomicU64,
    /// The receiver asked for a client certificate and has not answered a request since.
    certificate_requested: AtomicBool,
    fault: OnceLock<Fault>,
}

impl Meter {
    fn new() -> Self {
        Self(Arc::new(Gauge {
            left: AtomicI64::new(IDLE_ALLOWANCE),
            written: AtomicU64::new(0),
            certificate_requested: AtomicBool::new(false),
            fault: OnceLock::new(),
        }))
    }

    /// A request is about to be sent; `under_way` are, this one included.
    pub(crate) fn asked(&self, under_way: usize) {
        let requests = i64::try_from(under_way).unwrap_or(i64::MAX);
        let most = IDLE_ALLOWANCE.saturating_add(REQUEST_ALLOWANCE.saturating_mul(requests));
        self.0.left.fetch_max(most, Ordering::Relaxed);
    }

    pub(crate) fn certificate_requested(&self) {
        self.0.certificate_requested.store(true, Ordering::Relaxed);
    }

    /// A response came: the receiver accepts the client certificate, or that there is none.
    pub(crate) fn answered(&self) {
        self.0.certificate_requested.store(false, Ordering::Relaxed);
    }

    /// What broke the connection, where it is known. If a receiver asks for a client certificate and closes the connection before its first answer,
    /// it rejected the certificate, or demands one; TLS's own alert is often lost with the reset.
    pub(crate) fn fault_or_verdict(&self, identified: bool) -> Option<Fault> {
        self.0.fault.get().cloned().or_else(|| {
            let wanted = self.0.certificate_requested.load(Ordering::Relaxed);
            wanted.then(|| {
                Fault::Tls(certificate_verdict(
                    "it asked for one and closed the connection",
                    identified,
                ))
            })
        })
    }

    /// No request is in flight any more.
    pub(crate) fn idle(&self) {
        self.0.left.fetch_min(IDLE_ALLOWANCE, Ordering::Relaxed);
    }

    /// How many bytes the operating system has taken: if the number stays the same during a request, nothing of it was sent.
    pub(crate) fn written(&self) -> u64 {
        self.0.written.load(Ordering::Acquire)
    }

    fn wrote(&self, polled: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = polled {
            let bytes = u64::try_from(*bytes).unwrap_or(u64::MAX);
            self.0.written.fetch_add(bytes, Ordering::Release);
        }
    }

    fn note(&self, fault: Fault) {
        // The first is the cause of the others.
        let _ = self.0.fault.set(fault);
    }
}

/// TLS whose failures after the handshake are noted: TLS 1.3 judges a client certificate only then.
pub(crate) struct RecordsTlsFault<S> {
    inner: S,
    meter: Meter,
    explain: fn(&io::Error) -> Option<String>,
}

impl<S> RecordsTlsFault<S> {
    pub(crate) const fn new(inner: S, meter: Meter, explain: fn(&io::Error) -> Option<String>) -> Self {
        Self {
            inner,
            meter,
            explain,
        }
    }

    fn look<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &polled
            && let Some(why) = (self.explain)(error)
        {
            self.meter.note(Fault::Tls(why));
        }
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for RecordsTlsFault<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_read(cx, buf);
        this.look(polled)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for RecordsTlsFault<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_write(cx, buf);
        this.look(polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_write_vectored(cx, bufs);
        this.look(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_flush(cx);
        this.look(polled)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

/// A stream whose reading is metered.
pub(crate) struct Metered<S> {
    inner: S,
    meter: Meter,
}

impl<S> Metered<S> {
    pub(crate) fn new(inner: S) -> (Self, Meter) {
        let meter = Meter::new();
        let this = Self {
            inner,
            meter: meter.clone(),
        };
        (this, meter)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.meter.0.left.load(Ordering::Relaxed) <= 0 {
            this.meter.note(Fault::Flood);
            return Poll::Ready(Err(io::Error::other(Flood)));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.inner).poll_read(cx, buf);
        let read = i64::try_from(buf.filled().len() - before).unwrap_or(i64::MAX);
        this.meter.0.left.fetch_sub(read, Ordering::Relaxed);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_write(cx, buf);
        this.meter.wrote(&polled);
        polled
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_write_vectored(cx, bufs);
        this.meter.wrote(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn an_endless_peer_is_cut_off_at_the_allowance_of_what_was_asked() {
        for (asked, most) in [(0, IDLE_ALLOWANCE), (2, IDLE_ALLOWANCE + 2 * REQUEST_ALLOWANCE)] {
            let (ours, mut theirs) = tokio::io::duplex(16 * 1024);
            let (mut stream, meter) = Metered::new(ours);
            tokio::spawn(async move { while theirs.write_all(&[0; 16 * 1024]).await.is_ok() {} });
            if asked > 0 {
                meter.asked(asked);
            }
            let (mut read, mut buffer) = (0_usize, vec![0; 32 * 1024]);
            let error = loop {
                match stream.read(&mut buffer).await {
                    Ok(n) => read += n,
                    Err(error) => break error,
                }
            };
            assert!(error.get_ref().is_some_and(|e| e.is::<Flood>()), "{error}");
            assert!(matches!(meter.fault_or_verdict(false), Some(Fault::Flood)));
            let most = usize::try_from(most).unwrap();
            assert!((most..most + 32 * 1024).contains(&read), "{read}");
        }
    }
}
