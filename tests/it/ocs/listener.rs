//! The listener: everything that a client can send is bounded; HTTP/2, TLS, and shutdown.

use std::sync::Arc;

use openregister_webhooks::listener_tls::ListenerTls;
use openregister_webhooks::ocs::{Api, Authenticator, LocalAccounts, Server};
use openregister_webhooks::registry::AnyTarget;
use orw_testkit::certificate::{Authority, Flaw};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::routes::{LISTENERS, registration};
use crate::support::api::Service;
use crate::support::receiver::{client_config, connect};
use crate::support::wait::PATIENCE;

#[tokio::test]
async fn large_bodies_are_refused_before_they_are_read() {
    let service = Service::start().await;
    let mut body = registration();
    body["uri"] = format!("https://example.com/{}", "a".repeat(2 * 1024 * 1024)).into();
    let answer = service.admin("POST", LISTENERS).json(&body).send().await;
    assert_eq!(
        (answer.status, answer.json()["ocs"]["meta"]["statuscode"].clone()),
        (413, json!(413))
    );
    // Without a length, too, and after the answer nothing more is taken.
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    let head = format!(
        "POST {LISTENERS} HTTP/1.1\r\nHost: x\r\nOCS-APIRequest: true\r\nTransfer-Encoding: chunked\r\n\
         Authorization: Basic YWRtaW46YWRtaW4tcGFzc3dvcmQ=\r\nContent-Type: application/json\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    for _ in 0..17 {
        if stream.write_all(&chunk).await.is_err() {
            break;
        }
    }
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn http2_is_spoken_and_large_headers_are_not_taken() {
    let service = Service::start().await;
    let stream = TcpStream::connect(service.address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(
        hyper_util::rt::TokioExecutor::new(),
        hyper_util::rt::TokioIo::new(stream),
    )
    .await
    .unwrap();
    tokio::spawn(connection);
    let request = hyper::Request::get(format!("http://{}/status.php", service.address))
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), response.version()),
        (200, hyper::Version::HTTP_2)
    );

    let answer = service
        .request("GET", "/status.php")
        .header("X-Long", &"a".repeat(100_000))
        .send()
        .await;
    assert_eq!(answer.status, 431);
}

#[tokio::test]
async fn an_idle_listener_that_stops_lets_requests_end() {
    let service = Service::start().await;
    let idle = TcpStream::connect(service.address).await.unwrap();
    let answer = service.request("GET", "/status.php").send().await;
    assert_eq!(answer.status, 200);
    let address = service.address;
    tokio::time::timeout(PATIENCE, service.stop()).await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    drop(idle);
}

#[tokio::test]
async fn the_listener_speaks_tls_and_shows_a_renewed_certificate() {
    let service = Service::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let put = |authority: &Authority| {
        let leaf = authority.leaf(&["localhost"], Flaw::None).unwrap();
        std::fs::write(&certificate, leaf.certificate_pem()).unwrap();
        std::fs::write(&key, leaf.key_pem()).unwrap();
    };
    let (first, second) = (Authority::new().unwrap(), Authority::new().unwrap());
    put(&first);
    let tls = ListenerTls::load(&certificate, &key).unwrap();
    let accounts = LocalAccounts::new(&[("admin".to_owned(), "x".to_owned().into())], &[]).unwrap();
    let accounts = Authenticator::Standalone(accounts);
    let api = Api::new(Arc::clone(&service.registry), Arc::new(AnyTarget), accounts).unwrap();
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), Vec::new())
        .await
        .unwrap()
        .with_tls(Arc::clone(&tls));
    let address = server.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(server.serve(Arc::new(api), stop.clone()));

    let status = async |authority: &Authority| {
        let mut sender = connect(address, client_config(authority)).await?;
        let request = hyper::Request::get("/status.php").header("host", "localhost");
        let request = request
            .body(http_body_util::Full::new(bytes::Bytes::new()))
            .unwrap();
        let answer = sender
            .send_request(request)
            .await
            .map_err(std::io::Error::other)?;
        Ok::<_, std::io::Error>(answer.status().as_u16())
    };
    assert_eq!(status(&first).await.unwrap(), 200);
    assert!(status(&second).await.is_err());
    put(&second);
    tls.reload().unwrap();
    assert_eq!(status(&second).await.unwrap(), 200);
    assert!(status(&first).await.is_err());
    // Nothing is answered in clear.
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain
        .write_all(b"GET /status.php HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/"), "{answer:?}");
    stop.cancel();
    serving.await.unwrap();
}
