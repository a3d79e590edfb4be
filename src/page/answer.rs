//! Answers of the page, with the headers that keep others out of it.
//!
//! Guarantee: no answer with anything of the installation in it is kept by a browser or a proxy, shown in a frame, or runs a script that
//! is not the page's own.

use askama::Template;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use super::assets::Asset;
use super::chrome::Chrome;
use crate::proxy::Body;

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

const ALWAYS: [(HeaderName, HeaderValue); 7] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("x-robots-tag"),
        HeaderValue::from_static("noindex, nofollow"),
    ),
];

/// A template as an answer.
pub(crate) fn html(status: StatusCode, chrome: &Chrome, template: &impl Template) -> Response<Body> {
    match template.render() {
        Ok(text) => {
            let mut response = bare(status, text);
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HTML);
            if let Ok(policy) = HeaderValue::try_from(policy(&chrome.nonce)) {
                headers.insert(header::CONTENT_SECURITY_POLICY, policy);
            }
            response
        }
        Err(error) => {
            tracing::error!(%error, "a view of the page cannot be written");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "An internal error occurred\n")
        }
    }
}

/// What a browser may load and do: only what is the page's own. A script and a style also have to know the nonce of this very answer, because other
/// files of the same origin are Nextcloud's.
fn policy(nonce: &str) -> String {
    format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self'; connect-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'"
    )
}

/// Text without markup.
pub(crate) fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = bare(status, text);
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    close(response.headers_mut());
    response
}

/// Sends the browser elsewhere, with GET.
pub(crate) fn see_other(path: &str) -> Response<Body> {
    let mut response = plain(StatusCode::SEE_OTHER, Bytes::new());
    match HeaderValue::from_str(path) {
        Ok(path) => {
            response.headers_mut().insert(header::LOCATION, path);
            response
        }
        Err(_) => plain(StatusCode::NOT_FOUND, "There is no such page\n"),
    }
}

/// One of the page's files. It may be kept if it was asked for by its own name, because another version has another name.
pub(crate) fn asset(asset: &Asset, by_its_name: bool, headers: &HeaderMap) -> Response<Body> {
    let takes_gzip = headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.split(',').any(|name| name.trim() == "gzip"));
    let body = if takes_gzip {
        &asset.compressed
    } else {
        &asset.plain
    };
    let mut response = bare(StatusCode::OK, body.clone());
    let headers = response.headers_mut();
    if takes_gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    if by_its_name {
        headers.insert(header::CACHE_CONTROL, FOR_EVER);
    }
    close(headers);
    response
}

/// A stream of events for a script.
pub(crate) fn events(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.extend(ALWAYS);
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    // A proxy in front must hand on each event as it comes.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    close(headers);
    response
}

fn bare(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(body.into())
        .map_err(|never| match never {})
        .boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().extend(ALWAYS);
    response
}

/// Nothing of this answer is a document that loads something.
fn close(headers: &mut HeaderMap) {
    let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers.insert(header::CONTENT_SECURITY_POLICY, nothing);
}
