//! Receivers that break the rules: bounded time and memory, and the right cause.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use openregister_webhooks::delivery::Failure;
use orw_egress::{Answer as Got, Cause, Client, Incomplete, SendError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::rig::client;
use crate::support::receiver::{Answer, Options, Receiver, https};
use crate::support::sidecar::free_port;
use crate::support::wait::PATIENCE;

/// The timeout for receivers that are meant to exceed it.
pub(super) const LIMIT: Duration = Duration::from_secs(3);

/// Sends with a timeout that no receiver of a test exceeds.
pub(super) async fn post(client: &Client, url: &str) -> Result<Got, Failed> {
    post_within(client, url, PATIENCE).await
}

/// Sends, and asserts that the client itself ends the request in time.
pub(super) async fn post_within(client: &Client, url: &str, limit: Duration) -> Result<Got, Failed> {
    let request = Request::post(url)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from_static(b"{}")))
        .unwrap();
    tokio::time::timeout(limit + PATIENCE, client.send(request, None, limit))
        .await
        .expect("the client waits for longer than its limit")
        .map_err(Failed::from)
}

/// Why no answer came, with the words of the delivery log.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) cause: Cause,
    pub(super) error: String,
}

impl From<SendError> for Failed {
    fn from(error: SendError) -> Self {
        Self {
            cause: error.cause(),
            error: Failure::from(error).error,
        }
    }
}

pub(super) fn cause(result: Result<Got, Failed>) -> Cause {
    match result {
        Err(failure) => failure.cause,
        Ok(answer) => panic!("answered {answer:?}"),
    }
}

/// A plain-text server that says `answer` to whatever comes, then goes on with `more` for ever, and waits.
async fn raw(answer: &'static [u8], more: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut read = [0; 4096];
                if stream.read(&mut read).await.is_err() || stream.write_all(answer).await.is_err() {
                    return;
                }
                while !more.is_empty() && stream.write_all(more).await.is_ok() {}
                let _ = stream.read(&mut read).await;
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_read_to_their_bound_and_the_status_counts() {
    let receiver = https().await;
    let client = client(&receiver.ca_pem());
    let url = receiver.url("/");
    receiver.next([
        Answer::Endless,
        Answer::Trickle {
            body: Bytes::from(vec![b'x'; 1000]),
            every: Duration::from_millis(100),
        },
        Answer::CutInBody,
        Answer::WrongLength,
        Answer::Full {
            status: 200,
            headers: vec![],
            body: Bytes::from(vec![b'y'; 64 * 1024]),
        },
    ]);
    let endless = post(&client, &url).await.unwrap();
    assert_eq!(endless.status, 200);
    assert_eq!(endless.body.len(), 64 * 1024);
    assert!(matches!(endless.incomplete, Some(Incomplete::TooLong)));
    let trickle = post_within(&client, &url, LIMIT).await.unwrap();
    assert!(matches!(trickle.incomplete, Some(Incomplete::Late)));
    assert!(!trickle.body.is_empty() && trickle.body.len() < 100);
    let cut = post(&client, &url).await.unwrap();
    assert!(matches!(cut.incomplete, Some(Incomplete::BrokenOff(_))));
    let wrong = post(&client, &url).await.unwrap();
    assert!(wrong.incomplete.is_some());
    let whole = post(&client, &url).await.unwrap();
    assert_eq!(whole.body.len(), 64 * 1024);
    assert!(whole.incomplete.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_and_resets_have_their_cause() {
    let receiver = https().await;
    let client = client(&receiver.ca_pem());
    let url = receiver.url("/");
    receiver.next([Answer::Hang, Answer::Cut]);
    assert_eq!(cause(post_within(&client, &url, LIMIT).await), Cause::Timeout);
    assert_eq!(cause(post(&client, &url).await), Cause::Protocol);
    let nobody = free_port();
    let refused = post(&client, &format!("https://{nobody}/")).await;
    assert_eq!(cause(refused), Cause::Connect);
    let unknown = post(&client, "https://no-such-name.invalid/").await;
    assert_eq!(cause(unknown), Cause::Dns);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_or_never_ends_is_cut_off() {
    let receiver = https().await;
    let client = client(&receiver.ca_pem());
    let url = |address: SocketAddr| format!("http://{address}/");
    let nonsense = raw(b"SSH-2.0-OpenSSH_9\r\n\r\n", b"").await;
    assert_eq!(cause(post(&client, &url(nonsense)).await), Cause::Protocol);
    let headers = raw(b"HTTP/1.1 200 OK\r\n", b"x-endless: yes\r\n").await;
    assert_eq!(cause(post(&client, &url(headers)).await), Cause::Protocol);
    let long = raw(
        b"HTTP/1.1 200 OK\r\nx: ",
        b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    )
    .await;
    assert_eq!(cause(post(&client, &url(long)).await), Cause::Protocol);
    let interim = raw(b"", b"HTTP/1.1 102 Processing\r\n\r\n").await;
    assert_eq!(cause(post(&client, &url(interim)).await), Cause::Protocol);
    let stalled = raw(b"", b"").await;
    assert_eq!(
        cause(post_within(&client, &format!("https://{stalled}/"), LIMIT).await),
        Cause::Timeout
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_not_followed() {
    let receiver = https().await;
    let client = client(&receiver.ca_pem());
    receiver.next([Answer::with_header(
        307,
        "location",
        "https://169.254.169.254/latest/meta-data",
    )]);
    let answer = post(&client, &receiver.url("/")).await.unwrap();
    assert_eq!(answer.status, 307);
    assert_eq!(receiver.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_reused_over_both_protocols() {
    for protocols in [vec!["h2", "http/1.1"], vec!["http/1.1"]] {
        let options = Options {
            protocols: protocols.clone(),
            ..Options::default()
        };
        let receiver = Receiver::start(options).await.unwrap();
        let client = client(&receiver.ca_pem());
        for _ in 0..10 {
            post(&client, &receiver.url("/")).await.unwrap();
        }
        let got = receiver.received();
        // A connection is back in the pool a moment after its answer: on a busy machine a second one may be opened.
        let connections: std::collections::HashSet<_> = got.iter().map(|r| r.connection).collect();
        assert!(connections.len() <= 5, "{protocols:?}: {connections:?}");
        let h2 = got.iter().all(|r| r.version == hyper::Version::HTTP_2);
        assert_eq!(h2, protocols.len() == 2);
    }
}
