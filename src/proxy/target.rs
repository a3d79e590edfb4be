//! The target of a request: its host and path, checked so that no two servers can read them differently.

use std::borrow::Cow;

use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, StatusCode, Version};
use percent_encoding::percent_decode_str;

use super::error::ProxyError;

/// Refuses requests that no origin server answers, and those that two servers could read differently.
///
/// # Errors
/// Why it is refused.
pub(super) fn vet<B>(request: &Request<B>) -> Result<(), ProxyError> {
    let refused = |status, reason| Err(ProxyError::Refused { status, reason });
    if *request.method() == Method::CONNECT {
        return refused(StatusCode::NOT_IMPLEMENTED, "CONNECT is not for this server");
    }
    if *request.method() == Method::TRACE {
        return refused(
            StatusCode::METHOD_NOT_ALLOWED,
            "TRACE would echo what the request carries",
        );
    }
    host(request)?;
    let codings = request.headers().get_all(header::TRANSFER_ENCODING);
    if codings
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        return refused(
            StatusCode::NOT_IMPLEMENTED,
            "Transfer-Encoding: only chunked is understood",
        );
    }
    let path = request.uri().path();
    if !path.starts_with('/') {
        return Err(ProxyError::refused("The path must begin with /"));
    }
    let decoded = decode(path);
    if decoded.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
        return Err(ProxyError::refused("The path holds a control character"));
    }
    if decoded
        .split(['/', '\\'])
        .any(|segment| segment == "." || segment == "..")
    {
        return Err(ProxyError::refused("The path must not hold . or .. as a segment"));
    }
    Ok(())
}

/// The host that a request names; `None` if it names none, as HTTP/1.0 allows.
///
/// # Errors
/// If it names more than one, or none although it must.
pub(crate) fn host<B>(request: &Request<B>) -> Result<Option<HeaderValue>, ProxyError> {
    let mut named = request.headers().get_all(header::HOST).iter();
    let (first, second) = (named.next(), named.next());
    if second.is_some() {
        return Err(ProxyError::refused("Host must be named once"));
    }
    let authority = request
        .uri()
        .authority()
        .map(|authority| HeaderValue::from_str(authority.as_str()));
    let host = match (authority, first) {
        (Some(Err(_)), _) => return Err(ProxyError::refused("The host cannot be read")),
        (Some(Ok(authority)), Some(host)) if !authority.as_bytes().eq_ignore_ascii_case(host.as_bytes()) => {
            return Err(ProxyError::refused(
                "Host and the request's URI name different hosts",
            ));
        }
        (Some(Ok(authority)), _) => authority,
        (None, Some(host)) => host.clone(),
        (None, None) if request.version() == Version::HTTP_10 => return Ok(None),
        (None, None) => return Err(ProxyError::refused("Host is missing")),
    };
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:[]~%".contains(byte);
    if host.is_empty() || !host.as_bytes().iter().all(plain) {
        return Err(ProxyError::refused("Host is not the name of a host"));
    }
    Ok(Some(host))
}

/// A path as a server reads it that decodes it, merges slashes, ignores case, and knows Nextcloud's other paths to its API
/// (`/index.php/ocsapp/…`).
pub(crate) fn canonical(path: &str) -> String {
    let decoded = decode(path);
    let mut plain = String::with_capacity(decoded.len());
    for c in decoded.chars() {
        let c = if c == '\\' { '/' } else { c.to_ascii_lowercase() };
        if c != '/' || !plain.ends_with('/') {
            plain.push(c);
        }
    }
    let plain = plain.strip_prefix("/index.php").unwrap_or(&plain);
    let plain = match plain.strip_prefix("/ocsapp/") {
        Some(rest) => format!("/ocs/v2.php/{rest}"),
        None => plain.to_owned(),
    };
    plain.trim_end_matches('/').to_owned()
}

/// Percent-decodes a path that may be encoded up to three times.
fn decode(path: &str) -> Cow<'_, str> {
    let mut decoded = Cow::Borrowed(path);
    for _ in 0..3 {
        if !decoded.contains('%') {
            break;
        }
        let once = percent_decode_str(&decoded).decode_utf8_lossy().into_owned();
        if once == decoded {
            break;
        }
        decoded = Cow::Owned(once);
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, uri: &str, host: &[&str]) -> Request<()> {
        let mut builder = Request::builder().method(method).uri(uri);
        for host in host {
            builder = builder.header("host", *host);
        }
        builder.body(()).unwrap()
    }

    #[test]
    fn what_can_be_read_two_ways_is_refused() {
        let ok = |method, uri, host: &[&str]| vet(&request(method, uri, host)).is_ok();
        assert!(ok("GET", "/remote.php/dav/files/a%20b/..c/.d/%25", &["cloud"]));
        assert!(ok("GET", "/a//b", &["cloud:8443"]));
        assert!(ok("GET", "http://Cloud/a", &["cloud"]));
        assert!(ok("PROPFIND", "/", &["[::1]:8080"]));
        for (method, uri, host) in [
            ("CONNECT", "cloud:443", &["cloud"][..]),
            ("TRACE", "/", &["cloud"]),
            ("GET", "/", &[]),
            ("GET", "/", &["cloud", "cloud"]),
            ("GET", "/", &["cloud/x"]),
            ("GET", "/", &["a,b"]),
            ("GET", "http://other/", &["cloud"]),
            ("OPTIONS", "*", &["cloud"]),
            ("GET", "/a/../b", &["cloud"]),
            ("GET", "/a/%2e%2E/b", &["cloud"]),
            ("GET", "/a/%252e%252e/b", &["cloud"]),
            ("GET", "/a/..%2fb", &["cloud"]),
            ("GET", "/a/..%5cb", &["cloud"]),
            ("GET", "/a%00", &["cloud"]),
            ("GET", "/a%0d%0aX:1", &["cloud"]),
        ] {
            assert!(!ok(method, uri, host), "{method} {uri} {host:?}");
        }
        let mut odd = request("POST", "/", &["cloud"]);
        odd.headers_mut()
            .insert("transfer-encoding", HeaderValue::from_static("gzip, chunked"));
        assert!(vet(&odd).is_err());
    }

    #[test]
    fn other_ways_to_write_a_path_are_known() {
        let ours = "/ocs/v2.php/apps/webhook_listeners/api/v1/webhooks";
        for path in [
            "/ocs/v2.php//apps/webhook_listeners/api/v1/webhooks",
            "//ocs/v2.php/apps/webhook_listeners/api/v1/webhooks/",
            "/ocs/v2.php/%61pps/webhook_listeners/api/v1/webhooks",
            "/ocs/v2.php/%2561pps/webhook_listeners/api/v1/webhooks",
            "/ocs/v2.php%2fapps/webhook_listeners/api/v1/webhooks",
            "/OCS/v2.php/apps/Webhook_Listeners/api/v1/webhooks",
            "/index.php/ocs/v2.php/apps/webhook_listeners/api/v1/webhooks",
            "/index.php/ocsapp/apps/webhook_listeners/api/v1/webhooks",
            "/ocsapp/apps/webhook_listeners/api/v1/webhooks",
            "/ocs\\v2.php\\apps/webhook_listeners/api/v1/webhooks",
        ] {
            assert_eq!(canonical(path), ours, "{path}");
        }
        assert_eq!(canonical("/ocs/v2.php/cloud/users"), "/ocs/v2.php/cloud/users");
    }
}
