//! Limits hold in total, however many processes deliver.

use std::time::{Duration, Instant};

use openregister_webhooks::delivery::Options;
use openregister_webhooks::registry::Limits;

use super::rig::{Rig, delivery, webhook};
use crate::support::receiver::{Answer, https};
use crate::support::wait::PATIENCE;

fn options() -> Options {
    Options {
        // Long, so that only notifications wake the dispatcher.
        poll: Duration::from_secs(3600),
        ..Options::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rate_holds_over_three_processes() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    let mut hook = webhook(1, receiver.url("/"));
    hook.limits = Limits {
        per_second: 50,
        burst: 10,
        ..hook.limits
    };
    rig.webhooks.put(hook);
    let events = rig.events("a", 0..160).await;
    let new: Vec<_> = events
        .into_iter()
        .enumerate()
        .map(|(i, e)| delivery(1, &format!("lane{i}"), e))
        .collect();
    rig.enqueue(&new).await;
    let begun = Instant::now();
    let processes: Vec<_> = (0..3)
        .map(|_| rig.dispatcher_with(&receiver.ca_pem(), options()))
        .collect();
    let got = receiver.wait_for(160, PATIENCE).await.unwrap();
    // From before the first permit on: a request that a busy machine delays counts later than it was permitted, never earlier.
    for (before, request) in got.iter().enumerate() {
        let time = request.instant - begun;
        let allowed = 10.0 + 50.0 * time.as_secs_f64() + 1.0;
        assert!(
            (before + 1) as f64 <= allowed,
            "{} requests within {time:?}",
            before + 1
        );
    }
    for process in processes {
        process.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_hold_over_two_processes() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    let mut hook = webhook(1, receiver.url("/"));
    hook.limits.max_in_flight = 3;
    rig.webhooks.put(hook);
    const ANSWER: Duration = Duration::from_millis(100);
    receiver.always(Answer::After(ANSWER, Box::new(Answer::Status(200))));
    let events = rig.events("a", 0..30).await;
    let new: Vec<_> = events
        .into_iter()
        .enumerate()
        .map(|(i, e)| delivery(1, &format!("lane{i}"), e))
        .collect();
    rig.enqueue(&new).await;
    let processes: Vec<_> = (0..2)
        .map(|_| rig.dispatcher_with(&receiver.ca_pem(), options()))
        .collect();
    let got = receiver.wait_for(30, PATIENCE).await.unwrap();
    for (i, fourth) in got.iter().enumerate().skip(3) {
        let first = got[i - 3].instant;
        assert!(fourth.instant - first >= ANSWER, "four at once, at {i}");
    }
    for process in processes {
        process.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_is_told_of_what_another_process_enqueued() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    rig.webhooks.put(webhook(1, receiver.url("/")));
    let owner = rig.dispatcher_with(&receiver.ca_pem(), options());
    rig.send(1, "a", 0..1).await;
    owner.wake(1);
    receiver.wait_for(1, PATIENCE).await.unwrap();
    let other = rig.dispatcher_with(&receiver.ca_pem(), options());
    rig.until("SELECT count(*) FROM openregister_webhooks.worker", 2)
        .await;
    for number in 1..4 {
        rig.send(1, "a", number..number + 1).await;
        // The owner polls once an hour: what arrives, arrives because it was notified.
        other.wake(1);
        receiver.wait_for(number + 1, PATIENCE).await.unwrap();
    }
    // And when the owner leaves, the other takes over.
    owner.stop().await;
    rig.send(1, "a", 4..5).await;
    other.wake(1);
    receiver.wait_for(5, PATIENCE).await.unwrap();
    other.stop().await;
}
