//! The Nextcloud server behind the proxy: one address, pooled connections, bounded waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::http::uri::{Authority, Builder, PathAndQuery, Scheme};
use hyper::{Request, Response, Uri, Version};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::body::{Body, Progress};
use super::connect::Connector;
use super::error::ProxyError;
use crate::error_text::chain;

/// How long an idle connection is kept. Apache closes one after five seconds, so a younger one can be used.
const IDLE: Duration = Duration::from_secs(4);
const MOST_IDLE: usize = 256;
/// The largest head of a response, and how much of a body is read at once, in bytes.
const LARGEST_HEAD: usize = 64 * 1024;

/// `ORW_NEXTCLOUD_URL` names no server.
#[derive(Debug, thiserror::Error)]
#[error(
    "ORW_NEXTCLOUD_URL must look like https://cloud.example.org or https://example.org/nextcloud, not {0:?}"
)]
pub struct BadUrl(String);

/// Nextcloud. Every request goes to its one address, whatever the request says.
pub struct Upstream {
    client: legacy::Client<Connector, Body>,
    scheme: Scheme,
    authority: Authority,
    base: String,
    /// How long it may be silent.
    silence: Duration,
    /// Whether the last request failed: the log says so once, not with every request.
    away: AtomicBool,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Upstream({}://{}{})", self.scheme, self.authority, self.base)
    }
}

impl Upstream {
    /// Nextcloud at `url`, its certificate verified as `tls` says.
    ///
    /// # Errors
    /// If `url` is no http or https URL.
    pub fn new(
        url: &str,
        tls: ClientConfig,
        connect_timeout: Duration,
        silence: Duration,
    ) -> Result<Self, BadUrl> {
        let bad = || BadUrl(url.to_owned());
        let parts = url.parse::<Uri>().map_err(|_| bad())?.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(bad());
        };
        let tls = if scheme == Scheme::HTTPS {
            let host = authority.host().trim_start_matches('[').trim_end_matches(']');
            Some((tls, ServerName::try_from(host.to_owned()).map_err(|_| bad())?))
        } else if scheme == Scheme::HTTP {
            None
        } else {
            return Err(bad());
        };
        let base = parts.path_and_query.as_ref().map_or("", PathAndQuery::path);
        let client = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MOST_IDLE)
            .http1_max_buf_size(LARGEST_HEAD)
            .set_host(false)
            .build(Connector::new(tls, connect_timeout));
        Ok(Self {
            client,
            base: base.trim_end_matches('/').to_owned(),
            scheme,
            authority,
            silence,
            away: AtomicBool::new(false),
        })
    }

    /// The path that Nextcloud is installed below: empty, or `/nextcloud`.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Its host and port, for requests that name none.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.authority.as_str()
    }

    pub(super) const fn silence(&self) -> Duration {
        self.silence
    }

    /// Sends a request, its path and query unchanged, and waits for the head of the response.
    ///
    /// # Errors
    /// [`ProxyError`]. The wait is bounded: by how long Nextcloud may be silent after the last part of the body moved.
    pub(crate) async fn send(
        &self,
        mut request: Request<Body>,
        progress: &Progress,
    ) -> Result<Response<Incoming>, ProxyError> {
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = Builder::new()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
            .build()
            .map_err(|_| ProxyError::refused("The path cannot be read"))?;
        *request.version_mut() = Version::HTTP_11;
        let answered = self.client.request(request);
        tokio::pin!(answered);
        let outcome = loop {
            tokio::select! {
                outcome = &mut answered => break outcome,
                () = tokio::time::sleep_until(progress.last() + self.silence) => {
                    if progress.last().elapsed() >= self.silence {
                        return Err(self.failed(ProxyError::Late { after: self.silence }));
                    }
                }
            }
        };
        match outcome {
            Ok(response) => {
                if self.away.swap(false, Ordering::Relaxed) {
                    tracing::info!("Nextcloud answers again");
                }
                Ok(response)
            }
            Err(error) => Err(match progress.fault() {
                // The client failed, not Nextcloud.
                Some(fault) => fault,
                None if error.is_connect() => self.failed(ProxyError::Away { source: error.into() }),
                None => self.failed(ProxyError::Broken { source: error.into() }),
            }),
        }
    }

    /// Logs a failure: as a warning once, until Nextcloud answers again.
    fn failed(&self, error: ProxyError) -> ProxyError {
        let said = chain(&error);
        if self.away.swap(true, Ordering::Relaxed) {
            tracing::debug!(error = said, "Nextcloud does not answer");
        } else {
            tracing::warn!(error = said, nextcloud = ?self, "Nextcloud does not answer; our own routes still work");
        }
        error
    }
}

/// Whether a request failed because its connection was closed, as an idle one can be at any moment.
pub(super) fn is_closed(error: &ProxyError) -> bool {
    let ProxyError::Broken { source } = error else {
        return false;
    };
    let mut cause = source.source();
    while let Some(inner) = cause {
        if let Some(error) = inner.downcast_ref::<hyper::Error>()
            && (error.is_incomplete_message() || error.is_closed() || error.is_canceled())
        {
            return true;
        }
        if let Some(error) = inner.downcast_ref::<std::io::Error>()
            && matches!(
                error.kind(),
                std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe
            )
        {
            return true;
        }
        cause = inner.source();
    }
    false
}
