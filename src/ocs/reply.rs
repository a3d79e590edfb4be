//! Answers: the OCS envelope, in XML or JSON, under the rules of v1 and v2.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::xml;
use crate::proxy::Body;

/// A body in memory.
pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// `v1.php` or `v2.php`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

/// The format of the envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syntax {
    Xml,
    Json,
}

impl Syntax {
    /// The format that an `Accept` header asks for: the first type that we have, else XML.
    pub(crate) fn of_accept(headers: &HeaderMap) -> Self {
        let accept = headers
            .get(header::ACCEPT)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        accept
            .split(',')
            .find_map(|part| match part.split(';').next().unwrap_or_default().trim() {
                "application/json" => Some(Self::Json),
                "application/xml" => Some(Self::Xml),
                _ => None,
            })
            .unwrap_or(Self::Xml)
    }

    /// The format that `?format=` names.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "xml" => Some(Self::Xml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// How a request has to be answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dialect {
    pub(crate) version: Version,
    pub(crate) syntax: Syntax,
}

/// An answer of ours.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Data, and warnings for the caller.
    Data(Value, Vec<String>),
    /// An OCS status and a message.
    Failure(u16, String),
    /// JSON without an envelope.
    Plain(StatusCode, Bytes),
    /// A status without a body.
    Empty(StatusCode),
}

impl Reply {
    pub(crate) fn data(value: impl Into<Value>) -> Self {
        Self::Data(value.into(), Vec::new())
    }

    pub(crate) fn failure(status: u16, message: impl Into<String>) -> Self {
        Self::Failure(status, message.into())
    }

    /// The answer with the headers that Nextcloud sends.
    pub(crate) fn into_response(self, dialect: Dialect) -> Response<Body> {
        let json = HeaderValue::from_static("application/json; charset=utf-8");
        let (status, kind, body) = match self {
            Self::Plain(status, body) => (status, json, body),
            Self::Empty(status) => (status, json, Bytes::new()),
            Self::Data(data, warnings) => {
                let message = warnings.iter().fold("OK".to_owned(), |message, warning| {
                    format!("{message}; warning: {warning}")
                });
                let code = if dialect.version == Version::V1 { 100 } else { 200 };
                envelope(dialect, StatusCode::OK, "ok", code, &message, data)
            }
            Self::Failure(code, message) => {
                let status = http_status(dialect.version, code);
                envelope(
                    dialect,
                    status,
                    "failure",
                    code,
                    &message,
                    Value::Array(Vec::new()),
                )
            }
        };
        let mut response = Response::new(full(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, kind);
        for (name, value) in SECURITY {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        response
    }
}

/// An answer of ours, or Nextcloud's.
#[derive(Debug)]
pub(super) enum Outcome {
    Reply(Reply),
    Nextcloud(Response<Body>),
}

const SECURITY: [(&str, &str); 6] = [
    ("cache-control", "no-cache, no-store, must-revalidate"),
    (
        "content-security-policy",
        "default-src 'none';base-uri 'none';manifest-src 'self';frame-ancestors 'none'",
    ),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "SAMEORIGIN"),
    ("x-robots-tag", "noindex, nofollow"),
];

/// The status of the HTTP answer. v1 answers everything with 200, except a missing login and that the service is not available.
fn http_status(version: Version, code: u16) -> StatusCode {
    let status = match (version, code) {
        (_, 997) => 401,
        (_, 502..=504) => code,
        (Version::V1, _) => 200,
        (Version::V2, 998) => 404,
        (Version::V2, 996) => 500,
        (Version::V2, code) => code,
    };
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn envelope(
    dialect: Dialect,
    status: StatusCode,
    word: &str,
    code: u16,
    message: &str,
    data: Value,
) -> (StatusCode, HeaderValue, Bytes) {
    let mut meta = json!({"status": word, "statuscode": code, "message": message});
    if dialect.version == Version::V1 {
        meta["totalitems"] = "".into();
        meta["itemsperpage"] = "".into();
    }
    let inner = json!({"meta": meta, "data": data});
    match dialect.syntax {
        Syntax::Json => (
            status,
            HeaderValue::from_static("application/json; charset=utf-8"),
            json!({"ocs": inner}).to_string().into(),
        ),
        Syntax::Xml => (
            status,
            HeaderValue::from_static("application/xml; charset=utf-8"),
            xml::document("ocs", &inner).into(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_follow_the_version() {
        let status = |version, code| http_status(version, code).as_u16();
        assert_eq!(status(Version::V1, 404), 200);
        assert_eq!(status(Version::V1, 997), 401);
        assert_eq!(status(Version::V1, 503), 503);
        assert_eq!(status(Version::V2, 997), 401);
        assert_eq!(status(Version::V2, 998), 404);
        assert_eq!(status(Version::V2, 403), 403);
    }

    #[test]
    fn accept_decides_unless_it_says_nothing_of_use() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(text));
            Syntax::of_accept(&headers)
        };
        assert_eq!(of("application/json"), Syntax::Json);
        assert_eq!(
            of("text/html,application/xml;q=0.9,application/json;q=0.8"),
            Syntax::Xml
        );
        assert_eq!(of("text/plain, application/json;q=0.5, */*"), Syntax::Json);
        assert_eq!(of("*/*"), Syntax::Xml);
    }
}
