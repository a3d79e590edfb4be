//! A request of our own to Nextcloud, on behalf of a caller. Its response is read into memory, in a bounded time.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode};

use super::arrival::Arrival;
use super::body::Progress;
use super::error::ProxyError;
use super::forward::Proxy;

/// How long it may take in all.
const TIMEOUT: Duration = Duration::from_secs(15);
/// The largest response, in bytes.
const LARGEST: usize = 8 * 1024 * 1024;

/// A response of Nextcloud, read into memory.
#[derive(Debug)]
pub(crate) struct BufferedResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Proxy {
    /// Sends a request without a body, with these headers and those that say on whose behalf it is made. `path` begins below the path
    /// that Nextcloud is installed below.
    ///
    /// # Errors
    /// If there is no complete response in time.
    pub(crate) async fn fetch(
        &self,
        method: Method,
        path: &str,
        mut headers: HeaderMap,
        host: HeaderValue,
        arrival: Arrival,
    ) -> Result<BufferedResponse, ProxyError> {
        headers.insert(hyper::header::HOST, host);
        let mut request = Request::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
        *request.method_mut() = method;
        *request.uri_mut() = format!("{}{path}", self.upstream().base())
            .parse()
            .map_err(|_| ProxyError::refused("The path cannot be read"))?;
        *request.headers_mut() = headers;
        self.rewrite(&mut request, arrival)?;
        let progress = Progress::new();
        let exchange = async {
            let response = self.upstream().send(request, &progress).await?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, LARGEST)
                .collect()
                .await
                .map_err(|source| ProxyError::Broken { source })?;
            Ok(BufferedResponse {
                status: parts.status,
                headers: parts.headers,
                body: body.to_bytes(),
            })
        };
        tokio::time::timeout(TIMEOUT, exchange)
            .await
            .unwrap_or(Err(ProxyError::Late { after: TIMEOUT }))
    }
}
