//! One connection that speaks HTTP, and its task.
//!
//! Guarantees: what ends a connection ends its task, whatever the peer does.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::certificate::Fingerprint;
use crate::connect::{ConnectError, Connected};
use crate::stream::{Fault, Meter};

/// How much of a response's head is read.
const MAX_HEAD: usize = 64 * 1024;
/// Response bytes on their way before they are asked for: one stream's, and one connection's.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Requests at once over one HTTP/2 connection; fewer where the receiver says so.
const MAX_STREAMS: usize = 128;
/// How long a connection is used at most.
pub(super) const MAX_AGE: Duration = Duration::from_secs(300);
/// How long an idle connection is kept.
pub(super) const IDLE: Duration = Duration::from_secs(60);
/// How long a connection may take to end in good order.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);

pub(super) type Body = Full<Bytes>;

/// What connections are shared by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) identity: Option<Fingerprint>,
}

/// Why a request got no response.
#[derive(Debug)]
pub(crate) enum NoResponse {
    Connect(ConnectError),
    /// The receiver has surely not processed it: it was not sent, or the receiver itself says so.
    Unprocessed(hyper::Error),
    Failed(hyper::Error, Option<Fault>),
}

/// A connection for one request at a time. Its task ends with it.
pub(super) struct Http1 {
    pub(super) sender: http1::SendRequest<Body>,
    pub(super) meter: Meter,
    pub(super) born: Instant,
    pub(super) since: Instant,
    _end: DropGuard,
}

/// A connection for many.
pub(super) struct Http2 {
    pub(super) sender: http2::SendRequest<Body>,
    pub(super) meter: Meter,
    pub(super) born: Instant,
    /// Streams under way, and since when there are none.
    pub(super) streams: AtomicUsize,
    pub(super) since: Mutex<Instant>,
    /// How many streams the receiver allows.
    pub(super) room: Arc<AtomicUsize>,
    /// Takes no more requests.
    pub(super) retired: AtomicBool,
    _end: DropGuard,
}

pub(super) enum Connection {
    Http1(Http1),
    Http2(Arc<Http2>),
}

/// Speaks HTTP over a connection that is up.
pub(super) async fn open(connected: Connected) -> Result<Connection, hyper::Error> {
    let Connected { io, h2, meter } = connected;
    let (io, now, end) = (TokioIo::new(io), Instant::now(), CancellationToken::new());
    if !h2 {
        let (sender, connection) = http1::Builder::new().max_buf_size(MAX_HEAD).handshake(io).await?;
        tokio::spawn(drive(connection, end.clone()));
        return Ok(Connection::Http1(Http1 {
            sender,
            meter,
            born: now,
            since: now,
            _end: end.drop_guard(),
        }));
    }
    let (sender, mut connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .handshake(io)
        .await?;
    let room = Arc::new(AtomicUsize::new(MAX_STREAMS));
    let allowed = Arc::clone(&room);
    let connection = std::future::poll_fn(move |cx| {
        let polled = Pin::new(&mut connection).poll(cx);
        allowed.store(
            connection.current_max_send_streams().min(MAX_STREAMS),
            Ordering::Relaxed,
        );
        polled
    });
    tokio::spawn(drive(connection, end.clone()));
    let one = Arc::new(Http2 {
        sender,
        meter,
        born: now,
        streams: AtomicUsize::new(1),
        since: Mutex::new(now),
        room,
        retired: AtomicBool::new(false),
        _end: end.drop_guard(),
    });
    Ok(Connection::Http2(one))
}

impl Http1 {
    pub(super) fn expired(&self, now: Instant) -> bool {
        self.born + MAX_AGE <= now
    }
}

impl Http2 {
    /// Takes no more requests.
    pub(super) fn expired(&self, now: Instant) -> bool {
        self.retired.load(Ordering::Relaxed) || self.sender.is_closed() || self.born + MAX_AGE <= now
    }

    pub(super) fn has_room(&self) -> bool {
        !self.expired(Instant::now())
            && self.streams.load(Ordering::Relaxed) < self.room.load(Ordering::Relaxed).max(1)
    }

    /// Takes a place for one request.
    pub(super) fn enter(&self) -> bool {
        let most = self.room.load(Ordering::Relaxed).max(1);
        self.streams
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
                (n < most).then_some(n + 1)
            })
            .is_ok()
    }

    pub(super) fn leave(&self) {
        *self.lock_since() = Instant::now();
        if self.streams.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.meter.idle();
        }
    }

    pub(super) fn idle_too_long(&self, now: Instant) -> bool {
        self.streams.load(Ordering::Relaxed) == 0 && *self.lock_since() + IDLE <= now
    }

    pub(super) fn lock_since(&self) -> MutexGuard<'_, Instant> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets a connection work until it ends by itself, or for a moment longer when it is no longer wanted.
async fn drive<C>(connection: C, end: CancellationToken)
where
    C: Future<Output = Result<(), hyper::Error>>,
{
    let mut connection = pin!(connection);
    let ended = std::future::poll_fn(|cx| match connection.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(result),
        Poll::Pending => Poll::Pending,
    });
    tokio::select! {
        result = ended => {
            if let Err(error) = result {
                tracing::debug!(error = &error as &dyn std::error::Error, "a connection ended");
            }
            return;
        }
        () = end.cancelled() => {}
    }
    let _ = tokio::time::timeout(FAREWELL, connection).await;
}
