//! Bodies, trailers and websockets pass as they are sent, in both directions.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::Request;
use hyper::body::Frame;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::raw::{Raw, exchange, get, status};
use crate::support::api::Service;
use crate::support::nextcloud::Nextcloud;

#[tokio::test]
async fn bodies_stream_both_ways() {
    let nextcloud = Nextcloud::start().await;
    let service = Service::before(&nextcloud).await;
    // The first piece of an answer is there long before its last.
    let mut raw = Raw::connect(service.address).await;
    raw.send(get("/drip", "")).await;
    let begun = raw.until("drip").await;
    assert!(begun.starts_with("HTTP/1.1 200"), "{begun}");
    assert_eq!(raw.rest().await.matches("drip").count(), 19);
    // 32 MiB there and back, by length and in chunks.
    let size = 32 << 20;
    let answer = service
        .request("POST", "/upload")
        .body(vec![1_u8; size])
        .send()
        .await;
    assert_eq!(answer.text, format!("{size} {size}"));
    let chunks = (0..32).map(|_| Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![1; 1 << 20]))));
    let chunks = futures::stream::iter(chunks);
    let stream = TcpStream::connect(service.address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::post("/upload")
        .header("host", "c")
        .body(StreamBody::new(chunks))
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(
        answer.into_body().collect().await.unwrap().to_bytes(),
        format!("{size} {size}")
    );
    let stream = TcpStream::connect(service.address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("/download?{size}")).header("host", "c");
    let answer = sender
        .send_request(request.body(Full::new(Bytes::new())).unwrap())
        .await
        .unwrap();
    assert_eq!(answer.headers()["content-length"], size.to_string().as_str());
    let mut body = answer.into_body();
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        read += frame.unwrap().into_data().map_or(0, |data| data.len());
    }
    assert_eq!(read, size);
    // An answer that breaks off there breaks off here: nobody takes half of it for the whole.
    let cut = exchange(service.address, &get("/cut", "")).await;
    assert!(cut.contains("half") && !cut.ends_with("0\r\n\r\n"), "{cut}");
}

#[tokio::test]
async fn trailers_pass() {
    let nextcloud = Nextcloud::start().await;
    let service = Service::before(&nextcloud).await;
    let request = "POST /trailers HTTP/1.1\r\nHost: c\r\nTE: trailers\r\nTrailer: x-sum\r\nConnection: close, TE\r\n\
                   Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 6\r\n\r\n";
    let answer = exchange(service.address, request).await;
    assert!(answer.contains("\r\n3\r\nabc\r\n0\r\nx-sum: 6\r\n"), "{answer}");
    let seen = nextcloud.take_seen();
    assert_eq!(
        (seen[0].header("te"), seen[0].header("trailer")),
        ("trailers", "x-sum")
    );
}

#[tokio::test]
async fn a_body_is_sent_once_it_is_wanted() {
    let nextcloud = Nextcloud::start().await;
    let service = Service::before(&nextcloud).await;
    let head = |path: &str| {
        format!(
            "PUT {path} HTTP/1.1\r\nHost: c\r\nContent-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        )
    };
    let mut raw = Raw::connect(service.address).await;
    raw.send(head("/upload")).await;
    assert_eq!(raw.until("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    raw.send("abcd").await;
    assert!(raw.rest().await.ends_with("4 394"));
    // Nextcloud refuses the body: the client is told so and sends nothing.
    let mut raw = Raw::connect(service.address).await;
    raw.send(head("/refuse")).await;
    let answer = raw.rest().await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let other = head("/upload").replace("100-continue", "pigs-fly");
    assert_eq!(status(&exchange(service.address, &other).await), 417);
}

#[tokio::test]
async fn websockets_pass_and_nothing_else_is_switched_to() {
    let nextcloud = Nextcloud::start().await;
    let service = Service::before(&nextcloud).await;
    let mut raw = Raw::connect(service.address).await;
    let upgrade = "Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n";
    raw.send(format!(
        "GET /push/websocket HTTP/1.1\r\nHost: c\r\nConnection: keep-alive, Upgrade\r\n{upgrade}\r\n"
    ))
    .await;
    let answer = raw.until("\r\n\r\n").await.to_lowercase();
    assert!(
        answer.starts_with("http/1.1 101") && answer.contains("upgrade: websocket"),
        "{answer}"
    );
    for message in ["ping", "and again"] {
        raw.send(message).await;
        assert_eq!(raw.until(message).await, message);
    }
    // With a body it is a request like any other, and what follows it is the next request.
    nextcloud.take_seen();
    let answer = exchange(
        service.address,
        &format!(
            "GET /echo HTTP/1.1\r\nHost: c\r\nConnection: Upgrade\r\n{upgrade}Content-Length: 4\r\n\r\nbody\
             GET /next HTTP/1.1\r\nHost: c\r\nConnection: close\r\n\r\n"
        ),
    )
    .await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 2, "{answer}");
    assert!(answer.contains(r#""body":"body""#), "{answer}");
    let paths: Vec<_> = nextcloud.take_seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, ["/echo", "/next"]);
    let h2c = "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n";
    let answer = exchange(
        service.address,
        &format!("GET /echo HTTP/1.1\r\nHost: c\r\nConnection: close, Upgrade, HTTP2-Settings\r\n{h2c}\r\n"),
    )
    .await;
    assert!(
        status(&answer) == 200 && !answer.contains("h2c") && !answer.contains("http2-settings"),
        "{answer}"
    );
}
