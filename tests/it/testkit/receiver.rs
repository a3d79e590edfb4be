//! The receiver records complete requests and fails as it is told to.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use orw_testkit::certificate::Flaw;

use crate::support::receiver::{Answer, Options, Receiver, client_config, connect, https, post};
use crate::support::wait::PATIENCE;

#[tokio::test]
async fn it_records_requests_and_answers_by_script_then_by_rule() {
    let receiver = https().await;
    receiver.next([Answer::Status(503), Answer::with_header(429, "Retry-After", "7")]);
    receiver.decide(|request| Answer::Status(if request.path == "/gone" { 410 } else { 204 }));
    let mut client = connect(receiver.address(), client_config(receiver.authority()))
        .await
        .unwrap();
    let mut statuses = Vec::new();
    for path in ["/a", "/b", "/gone", "/d"] {
        client.ready().await.unwrap();
        let response = client.send_request(post(path, r#"{"n":1}"#)).await.unwrap();
        statuses.push((
            response.status().as_u16(),
            response.headers().contains_key("retry-after"),
        ));
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(statuses, [(503, false), (429, true), (410, false), (204, false)]);
    let received = receiver.wait_for(4, PATIENCE).await.unwrap();
    assert_eq!(received[2].path, "/gone");
    assert_eq!(received[0].json()["n"], 1);
    assert_eq!(received[0].header("content-type"), "application/json");
    assert!(received.iter().all(|r| r.connection == received[0].connection));
    assert!(receiver.wait_for(5, Duration::from_millis(20)).await.is_err());
}

/// `forget` is not an arrival and wakes nobody; otherwise whoever forgets on each arrival would never sleep again.
#[tokio::test]
async fn forgetting_is_no_arrival() {
    let receiver = https().await;
    let mut arrivals = receiver.arrivals();
    for round in 1..=2 {
        outcome(&receiver, Answer::Status(200)).await.unwrap();
        arrivals.changed().await.unwrap();
        assert_eq!(receiver.count(), 1, "round {round}");
        receiver.forget();
        assert!(!arrivals.has_changed().unwrap(), "round {round}");
        assert_eq!((receiver.count(), receiver.received().len()), (0, 0));
    }
    // Numbers start from 0 again.
    outcome(&receiver, Answer::Status(200)).await.unwrap();
    assert_eq!(receiver.wait_for(1, PATIENCE).await.unwrap()[0].number, 0);
}

/// What a client sees of one answer.
async fn outcome(receiver: &Receiver, answer: Answer) -> Result<usize, String> {
    receiver.next([answer]);
    let mut client = connect(receiver.address(), client_config(receiver.authority()))
        .await
        .unwrap();
    let response = client
        .send_request(post("/", "{}"))
        .await
        .map_err(|e| format!("head: {e:?}"))?;
    let body = response
        .into_body()
        .collect()
        .await
        .map_err(|e| format!("body: {e:?}"))?;
    Ok(body.to_bytes().len())
}

#[tokio::test]
async fn it_fails_in_every_way_it_is_told_to() {
    let receiver = https().await;
    let cut = outcome(&receiver, Answer::Cut).await.unwrap_err();
    assert!(
        cut.starts_with("head:") && cut.contains("ConnectionReset"),
        "{cut}"
    );
    let half = outcome(&receiver, Answer::CutInBody).await.unwrap_err();
    assert!(half.starts_with("body:"), "{half}");
    let short = outcome(&receiver, Answer::WrongLength).await.unwrap_err();
    assert!(short.starts_with("body:"), "{short}");
    let every = Duration::from_millis(10);
    let before = Instant::now();
    let trickle = Answer::Trickle {
        body: Bytes::from_static(b"0123456789"),
        every,
    };
    assert_eq!(outcome(&receiver, trickle).await.unwrap(), 10);
    assert!(before.elapsed() >= 10 * every);
    let before = Instant::now();
    let late = Answer::After(Duration::from_millis(50), Box::new(Answer::Status(200)));
    assert_eq!(outcome(&receiver, late).await.unwrap(), 0);
    assert!(before.elapsed() >= Duration::from_millis(50));
    let hang = tokio::time::timeout(Duration::from_millis(100), outcome(&receiver, Answer::Hang)).await;
    assert!(hang.is_err());
    assert_eq!(receiver.count(), 6);
}

#[tokio::test]
async fn it_refuses_while_paused_and_takes_its_port_again() {
    let receiver = https().await;
    let config = client_config(receiver.authority());
    receiver.pause().await;
    let refused = connect(receiver.address(), config.clone()).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    receiver.resume().await.unwrap();
    let mut client = connect(receiver.address(), config).await.unwrap();
    assert_eq!(client.send_request(post("/", "{}")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn its_certificate_has_the_flaw_that_was_asked_for() {
    for (flaw, reason) in [
        (Flaw::WrongName, "NotValidForName"),
        (Flaw::Expired, "Expired"),
        (Flaw::SelfSigned, "UnknownIssuer"),
    ] {
        let options = Options {
            flaw,
            ..Options::default()
        };
        let receiver = Receiver::start(options).await.unwrap();
        let error = connect(receiver.address(), client_config(receiver.authority()))
            .await
            .unwrap_err();
        assert!(format!("{error:?}").contains(reason), "{flaw:?}: {error:?}");
    }
}
