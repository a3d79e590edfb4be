//! One HTTPS request: sent, answered within its time, read within its size.
//!
//! Guarantees: redirects are not followed; head and body of the response are bounded in size, the whole exchange in
//! time; a failure carries the [`Cause`] that log and metrics know.

use std::error::Error as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Body as _;
use hyper::header::RETRY_AFTER;
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, timeout_at};

use super::connect::{ConnectError, Connector};
use super::guard::Guard;
use crate::text::chain;

/// How much of a response's head and body is read.
const MAX_HEAD: usize = 64 * 1024;
const MAX_BODY: usize = 64 * 1024;
/// How long a body is waited for after the head has told the outcome.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Why an attempt failed, as log and metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    Dns,
    Connect,
    Tls,
    Timeout,
    Guard,
    /// A response that is not 2xx.
    Status,
    /// The connection broke, or what came was no HTTP.
    Protocol,
    /// The request could not be made from the registration.
    Request,
    /// The event could not be read or rendered.
    Event,
    /// A fault of our own.
    Internal,
}

impl Cause {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Guard => "guard",
            Self::Status => "status",
            Self::Protocol => "protocol",
            Self::Request => "request",
            Self::Event => "event",
            Self::Internal => "internal",
        }
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    /// The beginning of the body.
    pub body: Bytes,
    /// `Retry-After`, where it was there and could be read.
    pub retry_after: Option<Duration>,
    /// Why the body is not whole, if it is not.
    pub note: Option<String>,
}

/// Why nothing came back.
#[derive(Debug, Clone)]
pub struct Failure {
    pub cause: Cause,
    pub error: String,
}

/// Sends requests; keeps connections for reuse; cheap to clone.
#[derive(Clone)]
pub struct Client {
    inner: legacy::Client<Connector, Full<Bytes>>,
    guard: Arc<Guard>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// A client with `tls` (see [`super::tls::client_config`]; ALPN is set here) and the local address `bind`.
    #[must_use]
    pub fn new(
        guard: Guard,
        mut tls: rustls::ClientConfig,
        bind: Option<IpAddr>,
        connect_timeout: Duration,
    ) -> Self {
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let guard = Arc::new(guard);
        let connector = Connector::new(Arc::clone(&guard), Arc::new(tls), bind, connect_timeout);
        let inner = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(64)
            .http1_max_buf_size(MAX_HEAD)
            .http2_max_header_list_size(MAX_HEAD as u32)
            .http2_initial_stream_window_size(MAX_BODY as u32)
            .build(connector);
        Self { inner, guard }
    }

    #[must_use]
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Sends `request` and reads the answer, all within `limit`.
    ///
    /// # Errors
    /// [`Failure`], where no response head came.
    pub async fn send(&self, request: Request<Full<Bytes>>, limit: Duration) -> Result<Answer, Failure> {
        let deadline = Instant::now() + limit;
        let response = timeout_at(deadline, self.inner.request(request))
            .await
            .map_err(|_| Failure {
                cause: Cause::Timeout,
                error: format!("no response within {} s", limit.as_secs_f32()),
            })?
            .map_err(|error| classify(&error))?;
        let status = response.status();
        let retry_after = retry_after(&response);
        let (body, note) = read_body(response, deadline.min(Instant::now() + BODY_TIMEOUT)).await;
        Ok(Answer {
            status,
            body,
            retry_after,
            note,
        })
    }
}

/// Reads at most [`MAX_BODY`]; a body that is longer, late or broken gives what came and why there is no more.
async fn read_body(response: Response<hyper::body::Incoming>, deadline: Instant) -> (Bytes, Option<String>) {
    let mut body = response.into_body();
    let mut read = BytesMut::new();
    let note = loop {
        if body.is_end_stream() {
            break None;
        }
        match timeout_at(deadline, body.frame()).await {
            Err(_) => break Some("the response body did not end in time".to_owned()),
            Ok(None) => break None,
            Ok(Some(Err(error))) => break Some(format!("the response body broke off: {}", chain(&error))),
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    let room = MAX_BODY - read.len();
                    read.extend_from_slice(&data[..data.len().min(room)]);
                    if data.len() > room {
                        break Some(format!("the response body is longer than {MAX_BODY} bytes"));
                    }
                }
            }
        }
    };
    (read.freeze(), note)
}

/// `Retry-After` in seconds or as a date.
fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = chrono::DateTime::parse_from_rfc2822(value).ok()?;
    (at.to_utc() - chrono::Utc::now()).to_std().ok()
}

fn classify(error: &legacy::Error) -> Failure {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(connect) = inner.downcast_ref::<ConnectError>() {
            let cause = match connect {
                ConnectError::Refused(_) => Cause::Guard,
                ConnectError::Dns { .. } | ConnectError::NoAddress { .. } => Cause::Dns,
                ConnectError::Tcp { .. } => Cause::Connect,
                ConnectError::Tls { .. } => Cause::Tls,
                ConnectError::Timeout { .. } => Cause::Timeout,
            };
            return Failure {
                cause,
                error: connect.to_string(),
            };
        }
        source = inner.source();
    }
    Failure {
        cause: Cause::Protocol,
        error: chain(error),
    }
}
