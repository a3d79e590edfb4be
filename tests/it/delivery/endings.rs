//! Orderly shutdowns, and connections that break.

use std::collections::BTreeMap;
use std::time::Duration;

use openregister_webhooks::delivery::Options;

use super::rig::{Rig, delivery, webhook};
use crate::support::lossy;
use crate::support::postgres::{DBA, NEXTCLOUD};
use crate::support::receiver::{Answer, https};
use crate::support::wait::PATIENCE;

const LEFT: &str = "SELECT count(*) FROM openregister_webhooks.delivery";

async fn load(rig: &Rig, lanes: usize, each: usize) {
    for lane in 0..lanes {
        let object = format!("o{lane}");
        let events = rig.events(&object, 0..each).await;
        let new: Vec<_> = events.into_iter().map(|e| delivery(1, &object, e)).collect();
        rig.enqueue(&new).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_under_load_loses_nothing_and_repeats_nothing() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    rig.webhooks.put(webhook(1, receiver.url("/")));
    receiver.always(Answer::After(
        Duration::from_millis(5),
        Box::new(Answer::Status(200)),
    ));
    load(&rig, 200, 10).await;
    let mut rounds = 0;
    while rig.count(LEFT).await > 0 {
        rounds += 1;
        assert!(rounds < 100, "it goes on");
        let before = receiver.count();
        let running = rig.dispatcher(&receiver.ca_pem());
        let some = (before + 300).min(2000);
        receiver.wait_for(some, PATIENCE).await.unwrap();
        running.stop().await;
    }
    assert!(rounds > 1, "one round was enough: no shutdown was under load");
    assert_eq!(receiver.count(), 2000, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hangs_at_a_shutdown_is_cut_off_and_handed_back() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    rig.webhooks.put(webhook(1, receiver.url("/")));
    receiver.always(Answer::Hang);
    rig.send(1, "a", 0..2).await;
    let options = Options {
        drain: Duration::from_millis(200),
        ..Options::default()
    };
    let running = rig.dispatcher_with(&receiver.ca_pem(), options);
    receiver.wait_for(1, PATIENCE).await.unwrap();
    running.stop().await;
    let untouched = "SELECT count(*) FROM openregister_webhooks.delivery WHERE state = 'pending' AND attempt = 0 \
        AND lease_owner IS NULL";
    assert_eq!(rig.count(untouched).await, 2);
}

/// The database fails over while a process shuts down: it is cut off, and another process takes its leases. What hangs must
/// not go on beside the other's request.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_is_cut_off_when_the_leases_are_lost() {
    const NEVER: Duration = Duration::from_secs(3600);
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    let mut hook = webhook(1, receiver.url("/"));
    hook.limits.timeout = NEVER;
    rig.webhooks.put(hook);
    receiver.next([Answer::Hang]);
    rig.send(1, "a", 0..2).await;
    let options = Options {
        drain: NEVER,
        ..Options::default()
    };
    let way = lossy::before(&rig.db);
    let url = way.url(NEXTCLOUD, rig.db.name());
    let draining = rig.dispatcher_over(&url, &receiver.ca_pem(), options);
    receiver.wait_for(1, PATIENCE).await.unwrap();
    draining.stop.cancel();
    way.sever();
    let ended = tokio::time::timeout(PATIENCE, draining.task).await;
    ended
        .expect("it goes on with what others may have taken")
        .unwrap()
        .unwrap();
    let other = rig.dispatcher(&receiver.ca_pem());
    let received = receiver.wait_for(3, PATIENCE).await.unwrap();
    let ids: Vec<&str> = received.iter().map(|r| r.header("webhook-id")).collect();
    assert_eq!(ids, ["evt_a_0", "evt_a_0", "evt_a_1"]);
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_connections_lose_nothing_and_keep_the_order() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    rig.webhooks.put(webhook(1, receiver.url("/")));
    receiver.always(Answer::After(
        Duration::from_millis(3),
        Box::new(Answer::Status(200)),
    ));
    load(&rig, 60, 30).await;
    let options = Options {
        poll: Duration::from_millis(500),
        ..Options::default()
    };
    let running = rig.dispatcher_with(&receiver.ca_pem(), options);
    let dba = crate::support::postgres::connect(&rig.db.server().postgres.url(DBA, "postgres")).await;
    let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = $1";
    for round in 1..=4 {
        receiver.wait_for(round * 200, PATIENCE).await.unwrap();
        dba.query(kill, &[&rig.db.name()]).await.unwrap();
    }
    rig.until(
        "SELECT count(DISTINCT event_seq) FROM openregister_webhooks.delivery_log WHERE state = 'succeeded'",
        1800,
    )
    .await;
    running.stop().await;
    let mut reached: BTreeMap<String, usize> = BTreeMap::new();
    for received in receiver.received() {
        let id = received
            .header("webhook-id")
            .strip_prefix("evt_")
            .unwrap()
            .to_owned();
        let (object, number) = id.split_once('_').unwrap();
        let next = reached.entry(object.to_owned()).or_default();
        let number: usize = number.parse().unwrap();
        assert!(number <= *next, "{id} came before {object}_{next}");
        *next = (*next).max(number + 1);
    }
    assert!(reached.values().all(|n| *n == 30), "{reached:?}");
    println!("{} requests for 1,800 events", receiver.count());
}
