//! How many connections are kept: as many as were in use at once, within a bound for all receivers.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http_body_util::Full;
use hyper::Request;
use orw_egress::{Client, Outgoing};
use orw_testkit::receiver::Answer;

use super::rig::to_loopback;
use crate::support::receiver::{Options, Receiver};

/// Sends so many requests at once, several times, and says how many connections that took.
async fn connections(max_idle: usize, at_once: usize, rounds: usize) -> usize {
    let options = Options {
        protocols: vec!["http/1.1"],
        ..Options::default()
    };
    let receiver = Receiver::start(options).await.unwrap();
    // Much longer than a request waits for the connection of another one.
    let slow = Answer::After(Duration::from_millis(500), Box::new(Answer::Status(200)));
    receiver.always(slow);
    let client = Client::new(Outgoing {
        max_idle,
        ..to_loopback(&receiver.ca_pem())
    });
    let url = receiver.url("/");
    for _ in 0..rounds {
        let sent = join_all((0..at_once).map(|_| {
            let request = Request::post(&url).body(Full::new(Bytes::new())).unwrap();
            client.send(request, None, Duration::from_secs(60))
        }));
        assert!(sent.await.iter().all(Result::is_ok));
    }
    let received = receiver.received();
    assert_eq!(received.len(), rounds * at_once);
    let used: BTreeSet<u64> = received.iter().map(|request| request.connection).collect();
    used.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_connections_are_kept_as_are_in_use_at_once() {
    let used = connections(512, 120, 4).await;
    // If a round opened anew what the round before had not kept, it would be hundreds.
    assert!(used <= 132, "{used} connections for 120 requests at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_connections_are_kept_than_the_bound_says() {
    let used = connections(4, 40, 2).await;
    // The second round finds four of the first.
    assert!(used >= 60, "{used} connections for 40 requests at once, twice");
}
