//! What passes through: every byte of it, and nothing that belongs to one connection only.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::Request;
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};

use openregister_webhooks::ocs::{Authenticator, ListenerTls, NextcloudAccounts};
use openregister_webhooks::proxy::{Proxy, Upstream};
use orw_testkit::certificate::{Authority, Flaw};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::raw::{Raw, exchange, status};
use super::{LISTENERS, OWN};
use crate::support::api::{Service, Setup, proxy_to};
use crate::support::nextcloud::Nextcloud;
use crate::support::receiver::client_config;

/// A `GET` on a connection of its own.
fn get(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: cloud.example\r\nConnection: close\r\n{more}\r\n")
}

/// To Nextcloud a slash at the end makes it a path that does not exist.
#[tokio::test]
async fn a_slash_at_the_end_is_another_path() {
    let nextcloud = Nextcloud::start().await;
    let before = Service::before(&nextcloud).await;
    let alone = Service::start().await;
    for service in [&before, &alone] {
        for (method, path) in [
            ("GET", format!("{LISTENERS}/")),
            ("POST", format!("{LISTENERS}/")),
            ("GET", format!("{LISTENERS}/1000000000/")),
            ("DELETE", format!("{LISTENERS}/byappid/x/")),
            ("GET", format!("{OWN}/events/")),
            ("GET", format!("{}/", LISTENERS.replace("v2.php", "v1.php"))),
        ] {
            let answer = service.admin(method, &path).send().await;
            // Below v1.php errors of the API are 200.
            let status = if path.contains("v1.php") { 200 } else { 404 };
            assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
            assert_eq!(answer.json()["ocs"]["meta"]["statuscode"], 998, "{method} {path}");
        }
        // Wrong credentials are the first to be told, here too.
        let wrong = service
            .request("GET", &format!("{LISTENERS}/"))
            .basic("admin", "wrong")
            .send()
            .await;
        assert_eq!(wrong.status, 401, "{wrong:?}");
    }
    // An id of Nextcloud's own is its to answer, and no list of it was asked for.
    nextcloud.take_seen();
    let theirs = before.admin("GET", &format!("{LISTENERS}/5/")).send().await;
    assert_eq!(theirs.status, 404, "{theirs:?}");
    assert_eq!(nextcloud.take_seen()[0].path, format!("{LISTENERS}/5/"));
}

#[tokio::test]
async fn requests_arrive_as_they_were_sent() {
    let nextcloud = Nextcloud::start().await;
    let service = Service::before(&nextcloud).await;
    let path = "/remote.php/dav/files/a%20b/%C3%BC//c;d?x=%2F&y=1";
    let answer = service
        .request("PUT", path)
        .header("Host", "cloud.example:8443")
        .header("X-Forwarded-For", "198.51.100.7")
        .header("X-Real-IP", "198.51.100.7")
        .header("Authorization", "Basic YWRtaW46eA==")
        .header("Connection", "keep-alive, X-Mine")
        .header("X-Mine", "1")
        .body("body")
        .send()
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("location"), "http://elsewhere.example/x?y=1");
    let told = answer.json();
    assert_eq!(
        (&told["method"], &told["uri"], &told["body"]),
        (&json!("PUT"), &json!(path), &json!("body"))
    );
    let headers = &told["headers"];
    assert_eq!(headers["host"], json!(["cloud.example:8443"]));
    assert_eq!(headers["x-forwarded-for"], json!(["127.0.0.1"]));
    assert_eq!(headers["x-forwarded-host"], json!(["cloud.example:8443"]));
    assert_eq!(headers["x-forwarded-proto"], json!(["http"]));
    assert_eq!(
        headers["forwarded"],
        json!(["for=127.0.0.1;host=\"cloud.example:8443\";proto=http"])
    );
    assert_eq!(headers["authorization"], json!(["Basic YWRtaW46eA=="]));
    assert_eq!(headers["content-length"], json!(["4"]));
    for gone in ["x-mine", "x-real-ip", "transfer-encoding", "connection"] {
        assert_eq!(headers.get(gone), None, "{gone}");
    }
    // And answers without what belongs to Nextcloud's connection.
    let answer = service.request("GET", "/hops").send().await;
    assert_eq!(
        (
            answer.header("x-hop"),
            answer.header("x-end"),
            answer.header("keep-alive")
        ),
        ("", "1", "")
    );
    // Methods that only WebDAV knows, and bodies without a length.
    let answer = exchange(
        service.address,
        "PROPFIND /remote.php/dav/ HTTP/1.1\r\nHost: c\r\nDepth: 1\r\nTransfer-Encoding: chunked\r\n\
         Connection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    )
    .await;
    assert!(
        answer.contains(r#""method":"PROPFIND""#) && answer.contains(r#""body":"abc""#),
        "{answer}"
    );
}

#[tokio::test]
async fn trusted_proxies_say_who_asks() {
    let nextcloud = Nextcloud::start().await;
    let callers = NextcloudAccounts::new(proxy_to(&nextcloud.url(), Duration::from_secs(60))).unwrap();
    let service = Service::start_with(Setup {
        authenticator: Authenticator::Nextcloud(Arc::new(callers)),
        trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
        tls: None,
    })
    .await;
    let asked = service
        .request("GET", "/echo")
        .header("X-Forwarded-For", "198.51.100.7");
    let asked = asked.header("X-Forwarded-Proto", "https");
    let told = asked
        .header("X-Forwarded-Host", "cloud.example")
        .send()
        .await
        .json();
    assert_eq!(
        told["headers"]["x-forwarded-for"],
        json!(["198.51.100.7, 127.0.0.1"])
    );
    assert_eq!(told["headers"]["x-forwarded-proto"], json!(["https"]));
    assert_eq!(told["headers"]["x-forwarded-host"], json!(["cloud.example"]));
}

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
    // Nextcloud does not want it: the client hears that, and sends nothing.
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

#[tokio::test]
async fn what_could_be_read_two_ways_reaches_nobody() {
    let nextcloud = Nextcloud::start().await;
    let service = Service::before(&nextcloud).await;
    let close = "Connection: close\r\n";
    for (request, wanted) in [
        ("GET /a/../b HTTP/1.1\r\nHost: c\r\n".to_owned(), 400),
        ("GET /a/%2e%2e/b HTTP/1.1\r\nHost: c\r\n".to_owned(), 400),
        (
            "GET /ocs/v2.php/..%2f..%2fx HTTP/1.1\r\nHost: c\r\n".to_owned(),
            400,
        ),
        ("GET /a%00b HTTP/1.1\r\nHost: c\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: c\r\nHost: d\r\n".to_owned(), 400),
        (
            "GET http://other.example/ HTTP/1.1\r\nHost: c\r\n".to_owned(),
            400,
        ),
        ("GET http://c/echo HTTP/1.1\r\nHost: c\r\n".to_owned(), 200),
        ("CONNECT c:443 HTTP/1.1\r\nHost: c\r\n".to_owned(), 501),
        ("TRACE / HTTP/1.1\r\nHost: c\r\n".to_owned(), 405),
        ("OPTIONS * HTTP/1.1\r\nHost: c\r\n".to_owned(), 400),
        (
            "POST /echo HTTP/1.1\r\nHost: c\r\nTransfer-Encoding: gzip, chunked\r\n".to_owned(),
            501,
        ),
        (
            "POST /echo HTTP/1.1\r\nHost: c\r\nTransfer-Encoding: identity\r\n".to_owned(),
            400,
        ),
        (
            "POST /echo HTTP/1.1\r\nHost: c\r\nContent-Length: 1\r\nContent-Length: 2\r\n".to_owned(),
            400,
        ),
        (
            "POST /echo HTTP/1.1\r\nHost: c\r\nContent-Length: +1\r\n".to_owned(),
            400,
        ),
        ("GET /echo HTTP/1.1\r\nHost: c\r\nX-A : 1\r\n".to_owned(), 400),
        (
            "GET /echo HTTP/1.1\r\nHost: c\r\nX-A: 1\r\n folded\r\n".to_owned(),
            400,
        ),
        (
            format!("GET {}", LISTENERS.replace("/apps", "//apps")) + " HTTP/1.1\r\nHost: c\r\n",
            400,
        ),
        (
            format!("GET {}", LISTENERS.replace("apps", "%61pps")) + " HTTP/1.1\r\nHost: c\r\n",
            400,
        ),
        (format!("GET /index.php{LISTENERS} HTTP/1.1\r\nHost: c\r\n"), 400),
        (
            format!(
                "GET {} HTTP/1.1\r\nHost: c\r\n",
                LISTENERS.replace("/ocs/v2.php", "/index.php/ocsapp")
            ),
            400,
        ),
        (format!("GET {OWN}/%61udit HTTP/1.1\r\nHost: c\r\n"), 400),
        (format!("GET /{OWN}/audit HTTP/1.1\r\nHost: c\r\n"), 400),
    ] {
        let answer = exchange(service.address, &format!("{request}{close}\r\n")).await;
        assert_eq!(status(&answer), wanted, "{request}: {answer}");
        let seen = nextcloud.take_seen().len();
        assert_eq!(seen, usize::from(wanted == 200), "{request}");
    }
    // Two lengths: the chunks count, what Nextcloud gets has one length, and nothing follows on that connection.
    for lengths in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n",
    ] {
        let mut raw = Raw::connect(service.address).await;
        raw.send(format!(
            "POST /echo HTTP/1.1\r\nHost: c\r\n{lengths}\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: c\r\n\r\n"
        ))
        .await;
        let answer = raw.rest().await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        let seen = nextcloud.take_seen();
        assert!(seen.iter().all(|seen| seen.path == "/echo"), "{seen:?}");
    }
}

#[tokio::test]
async fn http2_and_tls_are_spoken_on_both_sides() {
    let authority = Authority::new().unwrap();
    let leaf = authority.leaf(&["localhost", "127.0.0.1"], Flaw::None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (certificate, key) = (
        file("cert.pem", leaf.certificate_pem()),
        file("key.pem", &leaf.key_pem()),
    );
    let server = authority.server_config(&leaf, &["http/1.1"], false).unwrap();
    let listener = ListenerTls::load(&certificate, &key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let nextcloud = Nextcloud::start_with(Some(acceptor)).await;
    let ca = file("ca.pem", &authority.pem());
    let second = Duration::from_secs(60);
    let proxy = |ca: Option<&std::path::Path>| {
        let tls = orw_egress::client_config(ca).unwrap();
        let upstream = Upstream::new(&nextcloud.url(), tls, second, second).unwrap();
        Arc::new(Proxy::new(Arc::new(upstream)).unwrap())
    };
    let setup = |proxy| Setup {
        authenticator: Authenticator::Nextcloud(Arc::new(NextcloudAccounts::new(proxy).unwrap())),
        trusted_proxies: Vec::new(),
        tls: Some(Arc::clone(&listener)),
    };
    let service = Service::start_with(setup(proxy(Some(&ca)))).await;
    let ask = async |service: &Service, alpn: &[u8]| {
        let mut config = client_config(&authority);
        config.alpn_protocols = vec![alpn.to_vec()];
        let stream = TcpStream::connect(service.address).await.unwrap();
        let name = tokio_rustls::rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let stream = tokio_rustls::TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(alpn));
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
        tokio::spawn(connection);
        let request = Request::post("https://cloud.example/echo")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .body(Full::new(Bytes::from_static(b"body")))
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.into_body().collect().await.unwrap().to_bytes())
    };
    let (status, body) = ask(&service, b"h2").await;
    let told: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &told["body"]), (200, &json!("body")));
    let headers = &told["headers"];
    assert_eq!(
        (
            &headers["host"],
            &headers["cookie"],
            &headers["x-forwarded-proto"]
        ),
        (&json!(["cloud.example"]), &json!(["a=1; b=2"]), &json!(["https"]))
    );
    // A certificate that nobody vouches for is no Nextcloud.
    let stranger = Service::start_with(setup(proxy(None))).await;
    let (status, body) = ask(&stranger, b"h2").await;
    assert_eq!(status, 502, "{body:?}");
}

#[tokio::test]
async fn nextcloud_below_a_path_is_found_there() {
    let nextcloud = Nextcloud::start().await;
    let proxy = proxy_to(&format!("{}/cloud", nextcloud.url()), Duration::from_secs(60));
    let service = Service::start_with(Setup {
        authenticator: Authenticator::Nextcloud(Arc::new(NextcloudAccounts::new(proxy).unwrap())),
        trusted_proxies: Vec::new(),
        tls: None,
    })
    .await;
    let answer = service.admin("GET", &format!("/cloud{OWN}/events")).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(
        nextcloud.take_seen()[0]
            .path
            .starts_with("/cloud/ocs/v2.php/apps/"),
        "asked below the path"
    );
    let told = service.request("GET", "/cloud/index.php").send().await.json();
    assert_eq!(told["uri"], "/cloud/index.php");
    // Another way to write it is refused here too.
    let odd = format!("/cloud/{LISTENERS}");
    assert_eq!(service.admin("GET", &odd).send().await.status, 400);
}
