//! Connections that are kept for the next request.
//!
//! Guarantees: a connection serves only requests to the same scheme, host and port with the same client certificate; no
//! older than [`MAX_AGE`], so that a name's new address is found; never after a request on it has failed. There are at
//! most [`MAX_IDLE`] idle ones, each for [`IDLE`] at most, besides one for each request under way. What ends a
//! connection ends its task, whatever the peer does.

mod lease;

use std::collections::HashMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) use lease::Lease;

use crate::certificate::{ClientCertificate, Fingerprint};
use crate::connect::{ConnectError, Connected, Connector};
use crate::guard::Target;
use crate::stream::{Fault, Meter};

/// How much of a response's head is read.
const MAX_HEAD: usize = 64 * 1024;
/// Response bytes on their way before they are asked for: one stream's, and one connection's.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Requests at once over one HTTP/2 connection; fewer where the receiver says so.
const MAX_STREAMS: usize = 128;
/// Idle connections, over all receivers and of one.
const MAX_IDLE: usize = 512;
const MAX_IDLE_EACH: usize = 64;
const IDLE: Duration = Duration::from_secs(60);
const MAX_AGE: Duration = Duration::from_secs(300);
/// How long a connection may take to end in good order.
const FAREWELL: Duration = Duration::from_secs(1);
/// How often idle connections are looked over.
const SWEEP: Duration = Duration::from_secs(10);

type Body = Full<Bytes>;

/// What connections are shared by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    tls: bool,
    host: String,
    port: u16,
    identity: Option<Fingerprint>,
}

/// Why a request got no response.
#[derive(Debug)]
pub(crate) enum NoResponse {
    Connect(ConnectError),
    /// The receiver has surely not processed it: it was not sent, or the receiver itself says so.
    Unprocessed(hyper::Error),
    Failed(hyper::Error, Option<Fault>),
}

/// The pool.
pub(crate) struct Pool(Arc<Shared>);

struct Shared {
    connector: Connector,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by_key: HashMap<Key, Entry>,
    /// HTTP/1 connections among them.
    idle: usize,
    sweeping: bool,
}

#[derive(Default)]
struct Entry {
    h1: Vec<Http1>,
    h2: Vec<Arc<Http2>>,
}

/// A connection for one request at a time. Its task ends with it.
struct Http1 {
    sender: http1::SendRequest<Body>,
    meter: Meter,
    born: Instant,
    since: Instant,
    _end: DropGuard,
}

/// A connection for many.
struct Http2 {
    sender: http2::SendRequest<Body>,
    meter: Meter,
    born: Instant,
    /// Streams under way, and since when there are none.
    streams: AtomicUsize,
    since: Mutex<Instant>,
    /// How many streams the receiver allows.
    room: Arc<AtomicUsize>,
    /// Takes no more requests.
    retired: AtomicBool,
    _end: DropGuard,
}

enum Connection {
    Http1(Http1),
    Http2(Arc<Http2>),
}

impl Pool {
    pub(crate) fn new(connector: Connector) -> Self {
        Self(Arc::new(Shared {
            connector,
            kept: Mutex::default(),
        }))
    }

    pub(crate) fn connector(&self) -> &Connector {
        &self.0.connector
    }

    /// Sends a request, over a connection that is there unless it is to be a `fresh` one. The lease is for whoever reads
    /// the body.
    pub(crate) async fn send(
        &self,
        target: &Target,
        identity: Option<&ClientCertificate>,
        request: Request<Body>,
        fresh: bool,
    ) -> Result<(Response<Incoming>, Lease), NoResponse> {
        let key = Key {
            tls: target.tls,
            host: target.host.clone(),
            port: target.port,
            identity: identity.map(|identity| *identity.fingerprint()),
        };
        let kept = if fresh { None } else { self.0.take(&key) };
        let connection = match kept {
            Some(connection) => connection,
            None => {
                let connected = self.0.connector.connect(target, identity).await;
                let connected = connected.map_err(NoResponse::Connect)?;
                let meter = connected.meter.clone();
                let opened = self.0.open(&key, connected).await;
                opened
                    .map_err(|error| NoResponse::Failed(error, meter.fault_or_verdict(identity.is_some())))?
            }
        };
        let mut lease = Lease {
            pool: Arc::downgrade(&self.0),
            key,
            connection: Some(connection),
        };
        let response = lease.send(request).await?;
        Ok((response, lease))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that can take a request.
    fn take(&self, key: &Key) -> Option<Connection> {
        let now = Instant::now();
        let mut kept = self.lock();
        let kept = &mut *kept;
        let entry = kept.by_key.get_mut(key)?;
        entry.h2.retain(|one| !one.over(now));
        if let Some(one) = entry.h2.iter().find(|one| one.enter()) {
            return Some(Connection::Http2(Arc::clone(one)));
        }
        // The youngest first: the others may then rest, and go.
        while let Some(one) = entry.h1.pop() {
            kept.idle -= 1;
            if !one.over(now) && one.sender.is_ready() {
                return Some(Connection::Http1(one));
            }
        }
        None
    }

    /// Speaks HTTP over a connection that is up.
    async fn open(self: &Arc<Self>, key: &Key, connected: Connected) -> Result<Connection, hyper::Error> {
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
        let mut kept = self.lock();
        let entry = kept.by_key.entry(key.clone()).or_default();
        // Several may have been opened at once: one that can take more is enough to keep.
        if entry.h2.iter().all(|other| !other.has_room()) {
            entry.h2.push(Arc::clone(&one));
        }
        self.sweep_from_now_on(&mut kept);
        Ok(Connection::Http2(one))
    }

    /// Keeps an idle connection for the next request.
    fn keep(self: &Arc<Self>, key: Key, mut one: Http1) {
        one.since = Instant::now();
        one.meter.idle();
        let mut kept = self.lock();
        if kept.idle >= MAX_IDLE {
            kept.drop_oldest();
        }
        let entry = kept.by_key.entry(key).or_default();
        let full = entry.h1.len() >= MAX_IDLE_EACH;
        if full {
            entry.h1.remove(0);
        }
        entry.h1.push(one);
        kept.idle += usize::from(!full);
        self.sweep_from_now_on(&mut kept);
    }

    /// Makes sure that idle connections end, also when no request comes any more.
    fn sweep_from_now_on(self: &Arc<Self>, kept: &mut Kept) {
        if std::mem::replace(&mut kept.sweeping, true) {
            return;
        }
        let shared = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                let Some(shared) = shared.upgrade() else { return };
                let mut kept = shared.lock();
                kept.sweep(Instant::now());
                if kept.by_key.is_empty() {
                    kept.sweeping = false;
                    return;
                }
            }
        });
    }
}

impl Kept {
    fn sweep(&mut self, now: Instant) {
        for entry in self.by_key.values_mut() {
            entry
                .h1
                .retain(|one| !one.over(now) && one.since + IDLE > now && !one.sender.is_closed());
            entry.h2.retain(|one| !one.over(now) && !one.idle_too_long(now));
        }
        self.by_key
            .retain(|_, entry| !(entry.h1.is_empty() && entry.h2.is_empty()));
        self.idle = self.by_key.values().map(|entry| entry.h1.len()).sum();
        let quiet = |one: &Arc<Http2>| one.streams.load(Ordering::Relaxed) == 0;
        let mut quiet: Vec<(Instant, Key, usize)> = self
            .by_key
            .iter()
            .flat_map(|(key, entry)| {
                let quiet = entry.h2.iter().enumerate().filter(|(_, one)| quiet(one));
                quiet.map(|(at, one)| (*one.lock_since(), key.clone(), at))
            })
            .collect();
        if self.idle + quiet.len() > MAX_IDLE {
            quiet.sort_by_key(|(since, ..)| *since);
            let many = self.idle + quiet.len() - MAX_IDLE;
            for (_, key, at) in quiet.into_iter().take(many) {
                if let Some(one) = self.by_key.get(&key).and_then(|entry| entry.h2.get(at)) {
                    one.retired.store(true, Ordering::Relaxed);
                }
            }
            for entry in self.by_key.values_mut() {
                entry.h2.retain(|one| !one.over(now));
            }
        }
    }

    fn drop_oldest(&mut self) {
        let oldest = self
            .by_key
            .iter()
            .filter_map(|(key, entry)| entry.h1.first().map(|one| (one.since, key)))
            .min_by_key(|(since, _)| *since)
            .map(|(_, key)| key.clone());
        if let Some(entry) = oldest.and_then(|key| self.by_key.get_mut(&key)) {
            entry.h1.remove(0);
            self.idle -= 1;
        }
    }
}

impl Http1 {
    fn over(&self, now: Instant) -> bool {
        self.born + MAX_AGE <= now
    }
}

impl Http2 {
    /// Takes no more requests.
    fn over(&self, now: Instant) -> bool {
        self.retired.load(Ordering::Relaxed) || self.sender.is_closed() || self.born + MAX_AGE <= now
    }

    fn has_room(&self) -> bool {
        !self.over(Instant::now())
            && self.streams.load(Ordering::Relaxed) < self.room.load(Ordering::Relaxed).max(1)
    }

    /// Takes a place for one request.
    fn enter(&self) -> bool {
        let most = self.room.load(Ordering::Relaxed).max(1);
        self.streams
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
                (n < most).then_some(n + 1)
            })
            .is_ok()
    }

    fn leave(&self) {
        *self.lock_since() = Instant::now();
        if self.streams.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.meter.idle();
        }
    }

    fn idle_too_long(&self, now: Instant) -> bool {
        self.streams.load(Ordering::Relaxed) == 0 && *self.lock_since() + IDLE <= now
    }

    fn lock_since(&self) -> MutexGuard<'_, Instant> {
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
