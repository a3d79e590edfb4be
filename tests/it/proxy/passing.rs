//! Requests and answers pass unchanged, except for what belongs to one connection only.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};

use openregister_webhooks::listener_tls::ListenerTls;
use openregister_webhooks::ocs::{Authenticator, NextcloudAccounts};
use openregister_webhooks::proxy::{Proxy, Upstream};
use orw_testkit::certificate::{Authority, Flaw};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::raw::exchange;
use super::{LISTENERS, OWN};
use crate::support::api::{Service, Setup, proxy_to};
use crate::support::nextcloud::Nextcloud;
use crate::support::receiver::client_config;

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
    let service = Service::before_trusting(&nextcloud, &["127.0.0.0/8"]).await;
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
    // A server whose certificate is not trusted is not taken for Nextcloud.
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
