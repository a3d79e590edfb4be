//! How the receiver answers a request: well, or in one of the ways in which receivers fail.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use super::socket::Reset;

/// The body of an answer.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What one request gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// This status, with an empty body.
    Status(u16),
    /// A whole response.
    Full {
        status: u16,
        headers: Vec<(String, String)>,
        body: Bytes,
    },
    /// The answer, later.
    After(Duration, Box<Self>),
    /// The connection is reset (RST) without a response.
    Cut,
    /// The connection is reset (RST) after the headers and half of the body.
    CutInBody,
    /// 200, then a body of this text, one byte at a time.
    Trickle { body: Bytes, every: Duration },
    /// 200 and a body without end, as fast as it is read.
    Endless,
    /// Nothing, for as long as the connection stays.
    Hang,
    /// 200 with a `Content-Length` larger than the body, which then ends.
    WrongLength,
}

impl Answer {
    /// `status` with one header, such as `Retry-After` or `Location`.
    #[must_use]
    pub fn with_header(status: u16, name: &str, value: &str) -> Self {
        Self::Full {
            status,
            headers: vec![(name.to_owned(), value.to_owned())],
            body: Bytes::new(),
        }
    }

    /// Gives the answer. An error ends the connection.
    pub(super) async fn give(self, reset: &Reset) -> io::Result<Response<Body>> {
        let mut answer = self;
        while let Self::After(delay, then) = answer {
            tokio::time::sleep(delay).await;
            answer = *then;
        }
        match answer {
            Self::Status(status) => {
                response(status, &[], Full::new(Bytes::new()).map_err(never).boxed_unsync())
            }
            Self::Full {
                status,
                headers,
                body,
            } => response(status, &headers, Full::new(body).map_err(never).boxed_unsync()),
            Self::Cut => {
                reset.arm();
                Err(io::Error::other("cut"))
            }
            Self::CutInBody => {
                let reset = reset.clone();
                let cut = async move {
                    reset.arm();
                    Some(Err(io::Error::other("cut")))
                };
                with_length(16, part(b"{\"half\":", cut))
            }
            Self::Trickle { body, every } => {
                let length = body.len();
                let bytes = stream::unfold(body, move |mut rest| async move {
                    if rest.is_empty() {
                        return None;
                    }
                    tokio::time::sleep(every).await;
                    let byte = rest.split_to(1);
                    Some((Ok(Frame::data(byte)), rest))
                });
                with_length(length, StreamBody::new(bytes).boxed_unsync())
            }
            Self::Endless => {
                let block = Bytes::from_static(&[b'x'; 16_384]);
                let blocks = stream::repeat_with(move || Ok(Frame::data(block.clone())));
                response(200, &[], StreamBody::new(blocks).boxed_unsync())
            }
            Self::WrongLength => with_length(1000, part(b"short", std::future::ready(None))),
            Self::Hang | Self::After(..) => std::future::pending().await,
        }
    }
}

/// Sends `bytes`, and when they are on their way, what `end` says.
fn part(
    bytes: &'static [u8],
    end: impl Future<Output = Option<io::Result<Frame<Bytes>>>> + Send + 'static,
) -> Body {
    let sent = stream::iter([Ok(Frame::data(Bytes::from_static(bytes)))]);
    let end = stream::once(async move {
        // hyper drops what it has not yet written when a body fails; it writes while the body is pending.
        tokio::time::sleep(Duration::from_millis(20)).await;
        end.await
    });
    StreamBody::new(sent.chain(end.filter_map(std::future::ready))).boxed_unsync()
}

fn never(never: std::convert::Infallible) -> io::Error {
    match never {}
}

fn with_length(length: usize, body: Body) -> io::Result<Response<Body>> {
    let mut response = response(200, &[], body)?;
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(length));
    Ok(response)
}

fn response(status: u16, headers: &[(String, String)], body: Body) -> io::Result<Response<Body>> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).map_err(io::Error::other)?;
    for (name, value) in headers {
        let name = HeaderName::try_from(name).map_err(io::Error::other)?;
        let value = HeaderValue::try_from(value).map_err(io::Error::other)?;
        response.headers_mut().append(name, value);
    }
    Ok(response)
}
