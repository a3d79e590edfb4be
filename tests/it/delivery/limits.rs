//! Limits hold in total, however many processes deliver.

use std::time::{Duration, Instant};

use openregister_webhooks::delivery::Options;
use openregister_webhooks::registry::Limits;

use super::rig::{Rig, delivery, webhook};
use crate::support::receiver::{Answer, https};

const PATIENCE: Duration = Duration::from_secs(20);

fn options() -> Options {
    Options {
        // Long, so that only what is meant to wake wakes.
        poll: Duration::from_secs(60),
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
    let processes: Vec<_> = (0..3)
        .map(|_| rig.dispatcher_with(&receiver.ca_pem(), options()))
        .collect();
    let got = receiver.wait_for(160, PATIENCE).await.unwrap();
    let at: Vec<Instant> = got.iter().map(|r| r.instant).collect();
    // Any window: the burst, what the rate gives, and 10 % or 3 requests for the way there.
    for (i, from) in at.iter().enumerate() {
        for (j, to) in at.iter().enumerate().skip(i) {
            let allowed = (10.0 + 50.0 * (*to - *from).as_secs_f64()) * 1.1 + 3.0;
            let sent = j - i + 1;
            assert!(sent as f64 <= allowed, "{sent} requests within {:?}", *to - *from);
        }
    }
    let took = (at[159] - at[0]).as_secs_f64();
    assert!((2.5..6.0).contains(&took), "150 beyond the burst took {took} s");
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
        let begun = Instant::now();
        other.wake(1);
        receiver.wait_for(number + 1, PATIENCE).await.unwrap();
        assert!(
            begun.elapsed() < Duration::from_millis(1500),
            "{:?}",
            begun.elapsed()
        );
    }
    // And when the owner leaves, the other takes over.
    owner.stop().await;
    rig.send(1, "a", 4..5).await;
    other.wake(1);
    receiver.wait_for(5, PATIENCE).await.unwrap();
    other.stop().await;
}
