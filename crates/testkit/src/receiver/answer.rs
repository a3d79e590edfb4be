//! How the receiver answers a request: in good order, or with the feature `faults` in one of the ways in which receivers fail.

use std::io;
#[cfg(feature = "faults")]
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

/// The body of an answer.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What one request gets.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// This status, with an empty body.
    Status(u16),
    /// A complete response.
    Full {
        status: u16,
        headers: Vec<(String, String)>,
        body: Bytes,
    },
    /// The answer, after a delay.
    #[cfg(feature = "faults")]
    After(Duration, Box<Self>),
    /// The connection is reset (RST) without a response.
    #[cfg(feature = "faults")]
    Cut,
    /// The connection is reset (RST) after the headers and half of the body.
    #[cfg(feature = "faults")]
    CutInBody,
    /// 200, then this body, one byte at a time with a pause before each.
    #[cfg(feature = "faults")]
    Trickle { body: Bytes, every: Duration },
    /// 200 and a body without end, as fast as it is read.
    #[cfg(feature = "faults")]
    Endless,
    /// Nothing, for as long as the connection stays.
    #[cfg(feature = "faults")]
    Hang,
    /// 200 with a `Content-Length` that is larger than the body.
    #[cfg(feature = "faults")]
    WrongLength,
}

impl Answer {
    /// `status` with one header, such as `Retry-After` or `Location`, and an empty body.
    #[must_use]
    pub fn with_header(status: u16, name: &str, value: &str) -> Self {
        Self::Full {
            status,
            headers: vec![(name.to_owned(), value.to_owned())],
            body: Bytes::new(),
        }
    }

    /// The response, if the answer is a complete one.
    #[cfg(not(feature = "faults"))]
    pub(super) fn response(self) -> io::Result<Response<Body>> {
        match self {
            Self::Status(status) => response(status, &[], full(Bytes::new())),
            Self::Full {
                status,
                headers,
                body,
            } => response(status, &headers, full(body)),
        }
    }
}

/// A body that is known in full.
pub(super) fn full(body: Bytes) -> Body {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

/// A response; an error if a status or header cannot be sent.
pub(super) fn response(status: u16, headers: &[(String, String)], body: Body) -> io::Result<Response<Body>> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).map_err(io::Error::other)?;
    for (name, value) in headers {
        let name = HeaderName::try_from(name.as_str()).map_err(io::Error::other)?;
        let value = HeaderValue::try_from(value.as_str()).map_err(io::Error::other)?;
        response.headers_mut().append(name, value);
    }
    Ok(response)
}
