//! One HTTPS request: sent, answered within its time, read within its size.
//!
//! Guarantees: redirects are not followed; head and body of the response are bounded in size, the whole exchange in
//! time; a failure carries the [`Cause`] that log and metrics know.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::RETRY_AFTER;
use hyper::{HeaderMap, Request, Response, StatusCode};
use tokio::time::{Instant, timeout_at};

use super::connect::{ConnectError, Connector};
use super::guard::Guard;
use super::pool::{Pool, SendError};
use super::proxy::Proxies;
use super::resolve::{Resolve, SystemResolver};
use super::stream::Fault;
use super::trust::Shown;
use crate::config::Settings;
use crate::error_text::chain;
use crate::registry::ClientCertificate;

/// How much of a response's body is read.
const MAX_BODY: usize = 64 * 1024;
/// How long a body is waited for after the head has told the outcome.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a request is sent that the receiver has surely not processed.
const MAX_SENDS: usize = 3;

/// Why an attempt failed, as log and metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    Dns,
    Connect,
    Tls,
    Timeout,
    Guard,
    /// The outgoing proxy did not connect us: no fault of the receiver's.
    Proxy,
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
            Self::Proxy => "proxy",
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
    pub headers: HeaderMap,
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

/// What requests are sent with.
pub struct Outgoing {
    pub guard: Guard,
    /// See [`super::tls::client_config`]; ALPN is set here.
    pub tls: rustls::ClientConfig,
    /// The local address.
    pub bind: Option<IpAddr>,
    pub connect_timeout: Duration,
    pub proxies: Proxies,
    pub resolver: Arc<dyn Resolve>,
}

impl Outgoing {
    /// No proxy, the system's resolver, any local address, five seconds to connect.
    #[must_use]
    pub fn new(guard: Guard, tls: rustls::ClientConfig) -> Self {
        Self {
            guard,
            tls,
            bind: None,
            connect_timeout: Duration::from_secs(5),
            proxies: Proxies::default(),
            resolver: Arc::new(SystemResolver::default()),
        }
    }
}

impl Outgoing {
    /// As the settings say.
    #[must_use]
    pub fn of(settings: &Settings, tls: rustls::ClientConfig) -> Self {
        let guard = Guard::new(settings.targets_allow.clone(), settings.targets_allow_http);
        Self {
            bind: settings.bind_address,
            connect_timeout: settings.connect_timeout,
            proxies: settings.proxies.clone(),
            ..Self::new(guard, tls)
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
        tls.client_auth_cert_resolver = Arc::new(Shown(None));
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self(Arc::new(Pool::new(Connector {
            guard: Arc::new(outgoing.guard),
            tls: Arc::new(tls),
            bind: outgoing.bind,
            timeout: outgoing.connect_timeout,
            resolver: outgoing.resolver,
            proxies: outgoing.proxies,
            identities: Mutex::default(),
        })))
    }

    #[must_use]
    pub fn guard(&self) -> &Guard {
        &self.0.connector().guard
    }

    /// Sends `request` and reads the answer, all within `limit`, showing the receiver `identity` where there is one. A
    /// request that the receiver has surely not processed is sent again at once, over a new connection.
    ///
    /// # Errors
    /// [`Failure`], where no response head came.
    pub async fn send(
        &self,
        request: Request<Full<Bytes>>,
        identity: Option<&ClientCertificate>,
        limit: Duration,
    ) -> Result<Answer, Failure> {
        let deadline = Instant::now() + limit;
        let (response, lease) = timeout_at(deadline, self.exchange(request, identity))
            .await
            .map_err(|_| Failure {
                cause: Cause::Timeout,
                error: format!("no response within {} s", limit.as_secs_f32()),
            })??;
        let (head, body) = response.into_parts();
        let (body, end) = read_body(body, deadline.min(Instant::now() + BODY_TIMEOUT)).await;
        let note = match end {
            End::Whole => {
                lease.give_back();
                None
            }
            End::Long => {
                lease.cut();
                Some(format!("the response body is longer than {MAX_BODY} bytes"))
            }
            End::Broken(why) => Some(why),
        };
        Ok(Answer {
            status: head.status,
            retry_after: retry_after(&head.headers),
            headers: head.headers,
            body,
            note,
        })
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        identity: Option<&ClientCertificate>,
    ) -> Result<(Response<Incoming>, super::pool::Lease), Failure> {
        let target = self.guard().target(request.uri()).map_err(|refused| Failure {
            cause: Cause::Guard,
            error: refused.to_string(),
        })?;
        if identity.is_some() && !target.tls {
            return Err(Failure {
                cause: Cause::Request,
                error: "a webhook with a client certificate needs an https:// uri".to_owned(),
            });
        }
        let mut sends = 0;
        loop {
            let sent = self.0.send(&target, identity, request.clone(), sends > 0).await;
            sends += 1;
            match sent {
                Ok(answered) => return Ok(answered),
                Err(SendError::Connect(error)) => return Err(unconnected(&error)),
                Err(SendError::Failed(error, fault)) => return Err(unanswered(&error, fault)),
                Err(SendError::Unprocessed(error)) if sends < MAX_SENDS => {
                    tracing::debug!(host = target.host, error = %chain(&error), "not processed; sent again");
                }
                Err(SendError::Unprocessed(error)) => {
                    return Err(Failure {
                        cause: Cause::Protocol,
                        error: format!(
                            "the receiver refused the request unread {sends} times: {}",
                            chain(&error)
                        ),
                    });
                }
            }
        }
    }
}

/// How a body ended.
enum End {
    Whole,
    /// More came than is read.
    Long,
    /// It was late or broke off.
    Broken(String),
}

/// Reads at most [`MAX_BODY`]; a body that is longer, late or broken gives what came and why there is no more.
async fn read_body(mut body: Incoming, deadline: Instant) -> (Bytes, End) {
    let mut read = BytesMut::new();
    let end = loop {
        if body.is_end_stream() {
            break End::Whole;
        }
        match timeout_at(deadline, body.frame()).await {
            Err(_) => break End::Broken("the response body did not end in time".to_owned()),
            Ok(None) => break End::Whole,
            Ok(Some(Err(error))) => {
                break End::Broken(format!("the response body broke off: {}", chain(&error)));
            }
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    let room = MAX_BODY - read.len();
                    read.extend_from_slice(&data[..data.len().min(room)]);
                    if data.len() > room {
                        break End::Long;
                    }
                }
            }
        }
    };
    (read.freeze(), end)
}

/// `Retry-After` in seconds or as a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = chrono::DateTime::parse_from_rfc2822(value).ok()?;
    (at.to_utc() - chrono::Utc::now()).to_std().ok()
}

fn unconnected(error: &ConnectError) -> Failure {
    let cause = match error {
        ConnectError::Refused(_) => Cause::Guard,
        ConnectError::Dns { .. } | ConnectError::NoAddress { .. } => Cause::Dns,
        ConnectError::Tcp { .. } => Cause::Connect,
        ConnectError::Tls { .. } => Cause::Tls,
        ConnectError::Timeout { .. } => Cause::Timeout,
        ConnectError::Proxy { .. } => Cause::Proxy,
    };
    Failure {
        cause,
        error: error.to_string(),
    }
}

/// What broke the connection from below is the cause, where it is known.
fn unanswered(error: &hyper::Error, fault: Option<Fault>) -> Failure {
    let (cause, error) = match fault {
        Some(Fault::Tls(why)) => (Cause::Tls, why),
        Some(Fault::Flood(why)) => (Cause::Protocol, why),
        None => (Cause::Protocol, chain(error)),
    };
    Failure { cause, error }
}
