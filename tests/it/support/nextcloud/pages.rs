//! Pages outside of the API that try a proxy: echo, uploads, downloads, trailers, websocket, silence.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::HeaderValue;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;

/// The body of an answer.
pub(super) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

pub(super) fn plain(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(
        Full::new(body.into())
            .map_err(|never| match never {})
            .boxed_unsync(),
    );
    *response.status_mut() = status;
    response
}

/// Answers with the request as the server understood it.
pub(super) async fn echo(request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let headers: HashMap<String, Vec<String>> = parts
        .headers
        .keys()
        .map(|name| {
            let values = parts
                .headers
                .get_all(name)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
            (name.to_string(), values.collect())
        })
        .collect();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return plain(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let told = json!({"method": parts.method.as_str(), "uri": parts.uri.to_string(), "headers": headers,
        "body": String::from_utf8_lossy(&body)});
    let mut response = plain(StatusCode::OK, told.to_string());
    let location = HeaderValue::from_static("http://elsewhere.example/x?y=1");
    response.headers_mut().insert("location", location);
    response
}

pub(super) async fn upload(request: Request<Incoming>) -> Response<Body> {
    let mut body = request.into_body();
    let (mut bytes, mut sum) = (0_u64, 0_u64);
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(data) = frame.into_data() {
            bytes += data.len() as u64;
            sum = data
                .iter()
                .fold(sum, |sum, byte| sum.wrapping_add(u64::from(*byte)));
        }
    }
    plain(StatusCode::OK, format!("{bytes} {sum}"))
}

pub(super) fn download(request: &Request<Incoming>) -> Response<Body> {
    let bytes: u64 = request.uri().query().unwrap().parse().unwrap();
    let chunk = Bytes::from(vec![7_u8; 64 * 1024]);
    let chunks = futures::stream::unfold(bytes, move |left| {
        let chunk = chunk.clone();
        async move {
            (left > 0).then(|| {
                let size = left.min(chunk.len() as u64);
                let data = chunk.slice(..usize::try_from(size).unwrap());
                (Ok::<_, std::io::Error>(Frame::data(data)), left - size)
            })
        }
    });
    Response::builder()
        .header("content-length", bytes)
        .body(StreamBody::new(chunks).boxed_unsync())
        .unwrap()
}

/// Answers the request's trailers as its own.
pub(super) async fn trailers(request: Request<Incoming>) -> Response<Body> {
    let collected = request.into_body().collect().await.unwrap();
    let sent = collected.trailers().cloned().unwrap_or_default();
    let frames = [
        Ok::<_, std::io::Error>(Frame::data(collected.to_bytes())),
        Ok(Frame::trailers(sent)),
    ];
    Response::builder()
        .header("trailer", "x-sum")
        .body(StreamBody::new(futures::stream::iter(frames)).boxed_unsync())
        .unwrap()
}

/// Headers of one connection in an answer.
pub(super) fn hops() -> Response<Body> {
    let mut response = plain(StatusCode::OK, "hops");
    for (name, value) in [
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=9"),
        ("x-end", "1"),
    ] {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

/// A piece every 100 ms.
pub(super) fn drip() -> Response<Body> {
    let pieces = futures::stream::unfold(0, |n| async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        (n < 20).then(|| {
            (
                Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"drip"))),
                n + 1,
            )
        })
    });
    Response::new(StreamBody::new(pieces).boxed_unsync())
}

/// An answer that breaks off after its beginning has been sent.
pub(super) fn cut() -> Response<Body> {
    let frames = futures::stream::unfold(0, |n| async move {
        if n == 0 {
            return Some((Ok(Frame::data(Bytes::from_static(b"half"))), 1));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        Some((Err(std::io::Error::other("cut")), n + 1))
    });
    Response::new(StreamBody::new(frames).boxed_unsync())
}

/// Switches protocols and sends back what it gets.
pub(super) fn websocket(mut request: Request<Incoming>) -> Response<Body> {
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            let mut io = TokioIo::new(upgraded);
            let (mut read, mut write) = tokio::io::split(&mut io);
            let _ = tokio::io::copy(&mut read, &mut write).await;
        }
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .body(Empty::new().map_err(|never| match never {}).boxed_unsync())
        .unwrap()
}
