//! TLS: which certificates are refused, with errors that say what to do; which are accepted; client certificates are shown to
//! the receiver that they are for, and to no other.

use std::io::Read as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use orw_egress::ClientCertificate;
use orw_egress::{Answer as Got, Cause, Client};
use orw_testkit::certificate::{Authority, Flaw, Leaf};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::hostile::{Failed, post};
use super::net::{Names, lenient, outgoing};
use super::rig::client;
use crate::support::receiver::{Options, Receiver, https};
use crate::support::sidecar::free_port;
use crate::support::skipped::skipped;
use crate::support::wait::PATIENCE;

async fn flawed(flaw: Flaw) -> Receiver {
    Receiver::start(Options {
        flaw,
        ..Options::default()
    })
    .await
    .unwrap()
}

/// The request fails for TLS, with these words, and the receiver has seen nothing.
async fn refused(client: &Client, url: &str, words: &[&str]) {
    let failed = post(client, url).await.unwrap_err();
    assert_eq!(failed.cause, Cause::Tls, "{}", failed.error);
    for word in words {
        assert!(failed.error.contains(word), "{word}: {}", failed.error);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_believed_is_said_with_what_to_do() {
    for (flaw, words) in [
        (Flaw::Expired, &["expired on 2020-02-01", "renew it"][..]),
        (
            Flaw::WrongName,
            &[
                "not for localhost",
                "somewhere-else.invalid",
                "register the webhook under",
            ],
        ),
        (Flaw::SelfSigned, &["self-signed", "ORW_CA_FILE"]),
    ] {
        let receiver = flawed(flaw).await;
        refused(&client(&receiver.ca_pem()), &receiver.url("/"), words).await;
        assert_eq!(receiver.count(), 0);
    }
    // An authority of another name that nobody has heard of.
    let unknown = rcgen::generate_simple_self_signed(vec!["another authority".to_owned()]).unwrap();
    let receiver = https().await;
    let stranger = client(&unknown.cert.pem());
    refused(
        &stranger,
        &receiver.url("/"),
        &["authority is not known here", "throw-away CA", "ORW_CA_FILE"],
    )
    .await;
    // One of the same name with another key.
    let (ours, theirs) = tokio::join!(https(), https());
    refused(
        &client(&ours.ca_pem()),
        &theirs.url("/"),
        &["did not sign it", "ORW_CA_FILE"],
    )
    .await;
    assert!(post(&client(&theirs.ca_pem()), &theirs.url("/")).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_self_signed_certificate_is_believed_where_it_is_listed() {
    let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key =
        tokio_rustls::rustls::pki_types::PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = tokio_rustls::rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            if let Ok(mut tls) = acceptor.accept(tcp).await {
                let mut head = [0; 4096];
                let _ = tls.read(&mut head).await;
                let _ = tls.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
                let _ = tls.shutdown().await;
            }
        }
    });
    let listed = client(&signed.cert.pem());
    assert_eq!(post(&listed, &url).await.unwrap().status, 204);
    let other = Authority::new().unwrap();
    refused(&client(&other.pem()), &url, &["self-signed"]).await;
}

/// Answers every connection's first bytes with `answer`, and keeps those first bytes.
async fn answering(answer: &'static [u8]) -> (SocketAddr, Arc<Mutex<Vec<Vec<u8>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let first: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let kept = Arc::clone(&first);
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let kept = Arc::clone(&kept);
            tokio::spawn(async move {
                let mut bytes = vec![0; 4096];
                let n = tcp.read(&mut bytes).await.unwrap_or_default();
                bytes.truncate(n);
                kept.lock().unwrap().push(bytes);
                let _ = tcp.write_all(answer).await;
                let _ = tcp.read(&mut [0; 64]).await;
            });
        }
    });
    (address, first)
}

#[tokio::test(flavor = "multi_thread")]
async fn old_tls_and_no_tls_are_refused_without_another_try() {
    // A ServerHello of TLS 1.1: its version, 32 random bytes, no session, TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA.
    let hello = [
        &[22, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2][..],
        &[7; 32],
        &[0, 0xC0, 0x14, 0],
    ];
    let hello: &'static [u8] = hello.concat().leak();
    let authority = Authority::new().unwrap();
    let client = client(&authority.pem());
    for (answer, words) in [
        (hello, "TLS 1.2"),
        // The fatal alerts protocol_version and handshake_failure.
        (&[21, 3, 2, 0, 2, 2, 70], "TLS 1.2"),
        (&[21, 3, 3, 0, 2, 2, 40], "common ground"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak TLS"),
    ] {
        let (address, first) = answering(answer).await;
        refused(&client, &format!("https://{address}/"), &[words]).await;
        let first = first.lock().unwrap().clone();
        // One handshake, and neither an older one nor plain text after it.
        assert_eq!(first.len(), 1);
        assert_eq!(first[0][0], 22);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_of_tls_1_1_is_refused() {
    let authority = Authority::new().unwrap();
    let leaf = authority.leaf(&["127.0.0.1"], Flaw::None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, leaf.certificate_pem()).unwrap();
    std::fs::write(&key, leaf.key_pem()).unwrap();
    let port = free_port().port();
    let started = Command::new("openssl")
        .args(["s_server", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0", "-quiet"])
        .args(["-accept", &format!("127.0.0.1:{port}")])
        .arg("-cert")
        .arg(&cert)
        .arg("-key")
        .arg(&key)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut server) = started else {
        skipped(
            "a_real_server_of_tls_1_1_is_refused",
            "there is no openssl to serve TLS 1.1 with",
        );
        return;
    };
    for _ in 0..200 {
        if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let ended = server.try_wait().unwrap();
    if ended.is_some() {
        let mut said = String::new();
        let _ = server.stderr.take().unwrap().read_to_string(&mut said);
        skipped(
            "a_real_server_of_tls_1_1_is_refused",
            &format!("this openssl does not serve TLS 1.1: {said}"),
        );
        return;
    }
    let failed = post(&client(&authority.pem()), &format!("https://127.0.0.1:{port}/")).await;
    let _ = server.kill();
    let _ = server.wait();
    let failed = failed.unwrap_err();
    assert_eq!(failed.cause, Cause::Tls, "{}", failed.error);
    assert!(failed.error.contains("TLS 1.2"), "{}", failed.error);
}

fn certificate(leaf: &Leaf) -> ClientCertificate {
    ClientCertificate::parse(leaf.certificate_pem(), &leaf.key_pem()).unwrap()
}

async fn send(client: &Client, url: &str, identity: Option<&ClientCertificate>) -> Result<Got, Failed> {
    let request = hyper::Request::post(url)
        .body(http_body_util::Full::default())
        .unwrap();
    client
        .send(request, identity, PATIENCE)
        .await
        .map_err(Failed::from)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_opens_what_demands_it_and_serves_no_other_webhook() {
    for protocols in [vec!["h2", "http/1.1"], vec!["http/1.1"]] {
        let receiver = Receiver::start(Options {
            ask_clients: true,
            protocols,
            ..Options::default()
        })
        .await
        .unwrap();
        let client = Client::new(outgoing(
            &receiver.ca_pem(),
            lenient(),
            &Names::default().with("localhost", &["127.0.0.1"]),
        ));
        let url = receiver.url("/");
        let one = certificate(&receiver.authority().leaf(&["one"], Flaw::None).unwrap());
        let two = certificate(&receiver.authority().leaf(&["two"], Flaw::None).unwrap());
        let stranger = certificate(&Authority::new().unwrap().leaf(&["x"], Flaw::None).unwrap());
        let expired = certificate(&receiver.authority().leaf(&["x"], Flaw::Expired).unwrap());
        for _ in 0..2 {
            for identity in [&one, &two] {
                assert_eq!(send(&client, &url, Some(identity)).await.unwrap().status, 200);
            }
            // Neither an earlier connection nor an earlier TLS session lets the others in.
            let failed = send(&client, &url, None).await.unwrap_err();
            assert_eq!(failed.cause, Cause::Tls, "{}", failed.error);
            assert!(
                failed.error.contains("demands a client certificate")
                    && failed.error.contains("clientCertificate"),
                "{}",
                failed.error
            );
            for bad in [&stranger, &expired] {
                let failed = send(&client, &url, Some(bad)).await.unwrap_err();
                assert_eq!(failed.cause, Cause::Tls, "{}", failed.error);
                assert!(failed.error.contains("does not accept"), "{}", failed.error);
            }
        }
        assert_eq!(receiver.count(), 4);
        let got = receiver.received();
        assert_ne!(got[0].connection, got[1].connection);
        // In plain text no certificate is shown: such a request is not made at all.
        let plain = url.replace("https://", "http://");
        let failed = send(&client, &plain, Some(&one)).await.unwrap_err();
        assert_eq!(failed.cause, Cause::Request);
    }
}
