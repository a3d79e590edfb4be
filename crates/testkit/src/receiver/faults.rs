//! The ways in which receivers fail.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use hyper::header::{CONTENT_LENGTH, HeaderValue};

use super::answer::{Answer, Body, full, response};
use super::reset::Reset;

/// Gives the answer. An error ends the connection.
pub(super) async fn give(mut answer: Answer, reset: Reset) -> io::Result<Response<Body>> {
    while let Answer::After(delay, then) = answer {
        tokio::time::sleep(delay).await;
        answer = *then;
    }
    match answer {
        Answer::Status(status) => response(status, &[], full(Bytes::new())),
        Answer::Full {
            status,
            headers,
            body,
        } => response(status, &headers, full(body)),
        Answer::Cut => {
            reset.arm();
            Err(io::Error::other("cut"))
        }
        Answer::CutInBody => {
            let cut = async move {
                reset.arm();
                Some(Err(io::Error::other("cut")))
            };
            with_length(16, part(b"{\"half\":", cut))
        }
        Answer::Trickle { body, every } => {
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
        Answer::Endless => {
            let block = Bytes::from_static(&[b'x'; 16_384]);
            let blocks = stream::repeat_with(move || Ok(Frame::data(block.clone())));
            response(200, &[], StreamBody::new(blocks).boxed_unsync())
        }
        Answer::WrongLength => with_length(1000, part(b"short", std::future::ready(None))),
        Answer::Hang | Answer::After(..) => std::future::pending().await,
    }
}

/// Sends `bytes`; when they are on their way, does what `end` says.
fn part(
    bytes: &'static [u8],
    end: impl Future<Output = Option<io::Result<Frame<Bytes>>>> + Send + 'static,
) -> Body {
    let sent = stream::iter([Ok(Frame::data(Bytes::from_static(bytes)))]);
    let end = stream::once(async move {
        // If a body fails, hyper drops what it has not written yet. It writes while the body is pending.
        tokio::time::sleep(Duration::from_millis(20)).await;
        end.await
    });
    StreamBody::new(sent.chain(end.filter_map(std::future::ready))).boxed_unsync()
}

fn with_length(length: usize, body: Body) -> io::Result<Response<Body>> {
    let mut response = response(200, &[], body)?;
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(length));
    Ok(response)
}
