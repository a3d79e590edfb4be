//! A request to Nextcloud and its answer back, as they stream.

use std::sync::Arc;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request;
use hyper::{Method, Request, Response, StatusCode, Version, ext};
use tokio_util::sync::CancellationToken;

use super::arrival::Arrival;
use super::body::{Allowed, Body, Download, Gate, Held, Progress, Upload};
use super::error::ProxyError;
use super::headers::{self, THROUGH};
use super::upstream::{Upstream, is_closed};
use super::{target, tunnel};
use crate::patience::Pace;
use crate::random::{NoRandom, random};
use crate::shares::{Place, Shares};

/// How much is under way at the same time, and how fast a client's body has to come.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub requests: usize,
    /// Upgraded connections: fewer than the listener accepts, so that they leave room for requests.
    pub tunnels: usize,
    pub pace: Pace,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests: 2048,
            tunnels: 3072,
            pace: Pace::default(),
        }
    }
}

/// The proxy to one Nextcloud.
#[derive(Debug)]
pub struct Proxy {
    upstream: Arc<Upstream>,
    places: Arc<Shares>,
    tunnels: Arc<Shares>,
    pace: Pace,
    /// This process, in [`THROUGH`].
    name: String,
}

impl Proxy {
    /// # Errors
    /// If the operating system gives no random bytes.
    pub fn new(upstream: Arc<Upstream>) -> Result<Self, NoRandom> {
        Self::with_limits(upstream, Limits::default())
    }

    /// The same with other limits.
    ///
    /// # Errors
    /// If the operating system gives no random bytes.
    pub fn with_limits(upstream: Arc<Upstream>, limits: Limits) -> Result<Self, NoRandom> {
        let name = random::<8>()?;
        Ok(Self {
            upstream,
            places: Shares::new(limits.requests),
            tunnels: Shares::new(limits.tunnels),
            pace: limits.pace,
            name: HEXLOWER.encode(&name),
        })
    }

    #[must_use]
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// Refuses what must reach neither Nextcloud nor a route of ours.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn vet<B>(&self, request: &Request<B>) -> Result<(), ProxyError> {
        target::vet(request)?;
        if headers::items(request.headers(), &THROUGH).any(|name| name == self.name.as_bytes()) {
            return Err(ProxyError::Loop);
        }
        Ok(())
    }

    /// Forwards a request as it streams in, and the answer as it streams back.
    ///
    /// # Errors
    /// [`ProxyError`]: there is no answer.
    pub async fn forward(
        &self,
        mut request: Request<Incoming>,
        arrival: Arrival,
    ) -> Result<Response<Body>, ProxyError> {
        let place = self.place(arrival)?;
        if is_websocket(&request) {
            return self.upgrade(request, arrival, place).await;
        }
        let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
        let wanted = continues(request.headers())?;
        self.rewrite(&mut request, arrival)?;
        let (parts, body) = request.into_parts();
        let abandoned = CancellationToken::new();
        let places = Arc::clone(&self.places);
        let held = Held {
            _place: place,
            _upload: abandoned.clone().drop_guard(),
        };
        let progress = Progress::new();
        let response = if body.is_end_stream() {
            self.send_empty(parts, &progress).await?
        } else {
            let gate = Gate::default();
            let allowed = Allowed {
                pace: self.pace,
                places,
            };
            let upload = Upload::new(
                body,
                progress.clone(),
                allowed,
                wanted.then_some(&gate),
                abandoned,
            );
            let mut request = Request::from_parts(parts, upload.boxed_unsync());
            if wanted {
                request
                    .headers_mut()
                    .insert(header::EXPECT, HeaderValue::from_static("100-continue"));
                ext::on_informational(&mut request, move |answer| {
                    if answer.status() == StatusCode::CONTINUE {
                        gate.open();
                    }
                });
            }
            self.upstream.send(request, &progress).await?
        };
        if response.status().is_informational() {
            return Err(switched());
        }
        let mut response = self.answer(response, held);
        if chunked {
            // A server in front of us may have read another length that the request also named: no further request may follow.
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }

    /// Forwards a request whose body has been read.
    ///
    /// # Errors
    /// [`ProxyError`]: there is no answer.
    pub(crate) async fn forward_buffered(
        &self,
        parts: &request::Parts,
        body: Bytes,
        arrival: Arrival,
    ) -> Result<Response<Body>, ProxyError> {
        let held = Held {
            _place: self.place(arrival)?,
            _upload: CancellationToken::new().drop_guard(),
        };
        let mut request = Request::new(Full::new(body).map_err(|never| match never {}).boxed_unsync());
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = parts.uri.clone();
        *request.version_mut() = parts.version;
        *request.headers_mut() = parts.headers.clone();
        self.rewrite(&mut request, arrival)?;
        // The HTTP client sets the length of the body that was read.
        request.headers_mut().remove(header::CONTENT_LENGTH);
        request.headers_mut().remove(header::EXPECT);
        let response = self.upstream.send(request, &Progress::new()).await?;
        Ok(self.answer(response, held))
    }

    fn place(&self, arrival: Arrival) -> Result<Place, ProxyError> {
        self.places.take(arrival.client).ok_or(ProxyError::Busy)
    }

    /// Rewrites the headers for Nextcloud.
    pub(super) fn rewrite<B>(&self, request: &mut Request<B>, arrival: Arrival) -> Result<(), ProxyError> {
        let host = match target::host(request)? {
            Some(host) => host,
            None => HeaderValue::from_str(self.upstream.authority())
                .map_err(|_| ProxyError::refused("Host is missing"))?,
        };
        headers::request(request.headers_mut(), arrival, &host);
        request.headers_mut().remove(header::EXPECT);
        headers::append(request.headers_mut(), &THROUGH, &self.name);
        Ok(())
    }

    /// Sends a request without a body. If its connection was closed meanwhile, and the request changes nothing, sends it once more.
    async fn send_empty(
        &self,
        mut parts: request::Parts,
        progress: &Progress,
    ) -> Result<Response<Incoming>, ProxyError> {
        // If a length was announced and no body follows, Nextcloud would read the next request on that connection as this one's body.
        if parts.headers.contains_key(header::CONTENT_LENGTH) {
            parts
                .headers
                .insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let empty = || Empty::new().map_err(|never| match never {}).boxed_unsync();
        let safe = matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let again = safe.then(|| parts.clone());
        match (
            self.upstream
                .send(Request::from_parts(parts, empty()), progress)
                .await,
            again,
        ) {
            (Err(error), Some(parts)) if is_closed(&error) => {
                self.upstream
                    .send(Request::from_parts(parts, empty()), progress)
                    .await
            }
            (outcome, _) => outcome,
        }
    }

    fn answer(&self, response: Response<Incoming>, held: Held) -> Response<Body> {
        let silence = self.upstream.silence();
        let mut response = response.map(|body| Download::new(body, silence, held).boxed_unsync());
        *response.version_mut() = Version::default();
        headers::end_to_end(response.headers_mut());
        response
    }

    /// Joins the two connections if both switch to websocket; anything else that Nextcloud answers is passed back.
    async fn upgrade(
        &self,
        mut request: Request<Incoming>,
        arrival: Arrival,
        place: Place,
    ) -> Result<Response<Body>, ProxyError> {
        let tunnel = self.tunnels.take(arrival.client).ok_or(ProxyError::Busy)?;
        let client = hyper::upgrade::on(&mut request);
        self.rewrite(&mut request, arrival)?;
        switch(request.headers_mut());
        let (parts, _) = request.into_parts();
        let empty = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let mut response = self
            .upstream
            .send(Request::from_parts(parts, empty), &Progress::new())
            .await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let held = Held {
                _place: place,
                _upload: CancellationToken::new().drop_guard(),
            };
            return Ok(self.answer(response, held));
        }
        if !headers::names(response.headers(), &header::UPGRADE, "websocket") {
            return Err(switched());
        }
        let nextcloud = hyper::upgrade::on(&mut response);
        let silence = self.upstream.silence();
        tokio::spawn(async move {
            tunnel::run(client, nextcloud, silence).await;
            drop(tunnel);
        });
        let mut response = response.map(|_| Empty::new().map_err(|never| match never {}).boxed_unsync());
        headers::end_to_end(response.headers_mut());
        switch(response.headers_mut());
        Ok(response)
    }
}

/// Websocket is the only protocol that is switched to: `h2c` would bypass everything that is checked here. A request with a body
/// cannot switch.
fn is_websocket(request: &Request<Incoming>) -> bool {
    request.version() == Version::HTTP_11
        && *request.method() == Method::GET
        && request.body().is_end_stream()
        && headers::names(request.headers(), &header::CONNECTION, "upgrade")
        && request
            .headers()
            .get(header::UPGRADE)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

fn switched() -> ProxyError {
    ProxyError::Broken {
        source: "Nextcloud switched to a protocol that was not asked for".into(),
    }
}

fn switch(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

/// Whether the client waits for `100 Continue` before it sends its body.
fn continues(headers: &HeaderMap) -> Result<bool, ProxyError> {
    match headers.get(header::EXPECT) {
        None => Ok(false),
        Some(value) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(true),
        Some(_) => Err(ProxyError::Refused {
            status: StatusCode::EXPECTATION_FAILED,
            reason: "Expect: only 100-continue is understood",
        }),
    }
}
