//! One HTTPS request: sent, answered within its time, read within its size.
//!
//! Guarantees: redirects are not followed; head and body of the response are bounded in size, the whole exchange in
//! time; a failure has one [`Cause`].

use std::error::Error;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::RETRY_AFTER;
use hyper::{HeaderMap, Request, Response, StatusCode};
use tokio::time::{Instant, timeout_at};

use crate::certificate::ClientCertificate;
use crate::connect::{ConnectError, Connector, Destination};
use crate::guard::Guard;
use crate::pool::{CheckedOut, NoResponse, Pool};
use crate::proxy::Proxies;
use crate::refused::Refused;
use crate::resolve::{Resolve, SystemResolver};
use crate::stream::Fault;
use crate::trust::ClientIdentity;

/// How much of a response's body is read.
const MAX_BODY: usize = 64 * 1024;
/// How long a body is waited for after the head has told the outcome.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a request is sent at most, if the receiver cannot have processed it.
const MAX_SENDS: usize = 3;

/// What kind of failure it was that no answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    Dns,
    Connect,
    Tls,
    Timeout,
    /// The guard does not allow the target.
    Guard,
    /// The outgoing proxy did not connect: not the receiver's fault.
    Proxy,
    /// The connection broke, or the answer was not HTTP.
    Protocol,
    /// The request cannot be sent as it is.
    Request,
}

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("a webhook with a client certificate needs an https:// uri")]
    CertificateInClear,
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("no response within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// TLS failed after the handshake; the text says what to do.
    #[error("{0}")]
    Tls(String),
    #[error("the receiver sends without end; the connection was closed")]
    Flood,
    #[error(transparent)]
    Http(hyper::Error),
    #[error("the receiver refused the request unread {sends} times")]
    Unprocessed {
        sends: usize,
        #[source]
        source: hyper::Error,
    },
}

impl SendError {
    #[must_use]
    pub const fn cause(&self) -> Cause {
        match self {
            Self::Refused(_) | Self::Connect(ConnectError::Refused(_)) => Cause::Guard,
            Self::CertificateInClear => Cause::Request,
            Self::Connect(ConnectError::Dns { .. } | ConnectError::NoAddress { .. }) => Cause::Dns,
            Self::Connect(ConnectError::Tcp { .. }) => Cause::Connect,
            Self::Connect(ConnectError::Tls { .. }) | Self::Tls(_) => Cause::Tls,
            Self::Connect(ConnectError::Timeout { .. }) | Self::Timeout(_) => Cause::Timeout,
            Self::Connect(ConnectError::Proxy { .. }) => Cause::Proxy,
            Self::Flood | Self::Http(_) | Self::Unprocessed { .. } => Cause::Protocol,
        }
    }
}

/// Why a body is not whole.
#[derive(Debug, thiserror::Error)]
pub enum Incomplete {
    #[error("the response body is longer than {MAX_BODY} bytes")]
    TooLong,
    #[error("the response body did not end in time")]
    Late,
    #[error("the response body broke off")]
    BrokenOff(#[source] hyper::Error),
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The beginning of the body.
    pub body: Bytes,
    /// `Retry-After`, where it was there and could be read.
    pub retry_after: Option<Duration>,
    /// Why the body is not whole, if it is not.
    pub incomplete: Option<Incomplete>,
}

/// What requests are sent with.
pub struct Outgoing {
    pub guard: Guard,
    /// See [`crate::tls::client_config`]; ALPN is set here.
    pub tls: rustls::ClientConfig,
    /// The local address.
    pub bind: Option<IpAddr>,
    pub connect_timeout: Duration,
    pub proxies: Proxies,
    pub resolver: Arc<dyn Resolve>,
    /// Idle connections that are kept at most, over all receivers; there should be as many as there may be requests in flight.
    pub max_idle: usize,
}

impl Outgoing {
    /// No proxy, the system's resolver, any local address, five seconds to connect, 512 idle connections.
    #[must_use]
    pub fn new(guard: Guard, tls: rustls::ClientConfig) -> Self {
        Self {
            guard,
            tls,
            bind: None,
            connect_timeout: Duration::from_secs(5),
            proxies: Proxies::default(),
            resolver: Arc::new(SystemResolver::default()),
            max_idle: 512,
        }
    }
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outgoing")
            .field("proxies", &self.proxies)
            .finish_non_exhaustive()
    }
}

/// Sends requests; keeps connections for reuse; cheap to clone.
#[derive(Clone)]
pub struct Client(Arc<Pool>);

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    #[must_use]
    pub fn new(outgoing: Outgoing) -> Self {
        let mut tls = outgoing.tls;
        tls.client_auth_cert_resolver = Arc::new(ClientIdentity(None));
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let connector = Connector {
            guard: Arc::new(outgoing.guard),
            tls: Arc::new(tls),
            bind: outgoing.bind,
            timeout: outgoing.connect_timeout,
            resolver: outgoing.resolver,
            proxies: outgoing.proxies,
            identities: Mutex::default(),
        };
        Self(Arc::new(Pool::new(connector, outgoing.max_idle)))
    }

    #[must_use]
    pub fn guard(&self) -> &Guard {
        &self.0.connector().guard
    }

    /// Sends `request` and reads the answer, all within `limit`, showing the receiver `identity` where there is one. A
    /// request that the receiver has surely not processed is sent again at once, over a new connection.
    ///
    /// # Errors
    /// [`SendError`], where no response head came.
    pub async fn send(
        &self,
        request: Request<Full<Bytes>>,
        identity: Option<&ClientCertificate>,
        limit: Duration,
    ) -> Result<Answer, SendError> {
        let deadline = Instant::now() + limit;
        let (response, checked_out) = timeout_at(deadline, self.exchange(request, identity))
            .await
            .map_err(|_| SendError::Timeout(limit))??;
        let (head, body) = response.into_parts();
        let (body, incomplete) = read_body(body, deadline.min(Instant::now() + BODY_TIMEOUT)).await;
        match incomplete {
            None => checked_out.give_back(),
            Some(Incomplete::TooLong) => checked_out.cut(),
            Some(Incomplete::Late | Incomplete::BrokenOff(_)) => drop(checked_out),
        }
        Ok(Answer {
            status: head.status,
            retry_after: retry_after(&head.headers),
            headers: head.headers,
            body,
            incomplete,
        })
    }

    /// Where a request to this URL would be sent now: its name is looked up and judged as for a request, and nothing is connected to. It
    /// takes as long as the resolver does, so the caller sets a limit. What is connected to later is judged again.
    ///
    /// # Errors
    /// [`SendError`] if the guard refuses it, or its name leads nowhere.
    pub async fn destination(&self, uri: &hyper::Uri) -> Result<Destination, SendError> {
        let target = self.guard().target(uri)?;
        Ok(self.0.connector().destination(&target).await?)
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        identity: Option<&ClientCertificate>,
    ) -> Result<(Response<Incoming>, CheckedOut), SendError> {
        let target = self.guard().target(request.uri())?;
        if identity.is_some() && !target.tls {
            return Err(SendError::CertificateInClear);
        }
        let mut sends = 0;
        loop {
            let sent = self.0.send(&target, identity, request.clone(), sends > 0).await;
            sends += 1;
            match sent {
                Ok(answered) => return Ok(answered),
                Err(NoResponse::Connect(error)) => return Err(error.into()),
                // What broke the connection from below is the cause, where it is known.
                Err(NoResponse::Failed(_, Some(Fault::Tls(why)))) => return Err(SendError::Tls(why)),
                Err(NoResponse::Failed(_, Some(Fault::Flood))) => return Err(SendError::Flood),
                Err(NoResponse::Failed(error, None)) => return Err(SendError::Http(error)),
                Err(NoResponse::Unprocessed(error)) if sends < MAX_SENDS => {
                    tracing::debug!(
                        host = target.host,
                        error = &error as &dyn Error,
                        "not processed; sent again"
                    );
                }
                Err(NoResponse::Unprocessed(source)) => return Err(SendError::Unprocessed { sends, source }),
            }
        }
    }
}

/// Reads at most [`MAX_BODY`]; a body that is longer, late or broken gives what came and why there is no more.
async fn read_body(mut body: Incoming, deadline: Instant) -> (Bytes, Option<Incomplete>) {
    let mut read = BytesMut::new();
    let incomplete = loop {
        if body.is_end_stream() {
            break None;
        }
        match timeout_at(deadline, body.frame()).await {
            Err(_) => break Some(Incomplete::Late),
            Ok(None) => break None,
            Ok(Some(Err(error))) => break Some(Incomplete::BrokenOff(error)),
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    let room = MAX_BODY - read.len();
                    read.extend_from_slice(&data[..data.len().min(room)]);
                    if data.len() > room {
                        break Some(Incomplete::TooLong);
                    }
                }
            }
        }
    };
    (read.freeze(), incomplete)
}

/// `Retry-After` in seconds or as a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    // HTTP demands GMT; PHP's `date('r')` says +0000.
    let at = match value.strip_suffix(" +0000") {
        Some(date) => httpdate::parse_http_date(&format!("{date} GMT")),
        None => httpdate::parse_http_date(value),
    };
    let at = at.ok()?;
    at.duration_since(SystemTime::now()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_to_wait_is_read_in_every_form_that_servers_send() {
        let wish = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(wish(" 120 "), Some(Duration::from_secs(120)));
        for date in ["Fri, 31 Dec 2100 23:59:59 GMT", "Fri, 31 Dec 2100 23:59:59 +0000"] {
            assert!(wish(date) > Some(Duration::from_secs(86_400)), "{date}");
        }
        for none in ["Sun, 06 Nov 1994 08:49:37 GMT", "soon", "-1", ""] {
            assert_eq!(wish(none), None, "{none}");
        }
    }
}
