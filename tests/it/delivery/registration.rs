//! What pausing, changing and deleting a webhook does to its pending deliveries.

use std::time::Duration;

use openregister_webhooks::delivery::Options;
use openregister_webhooks::delivery::partitions::{Retention, maintain};
use openregister_webhooks::delivery::queue::listing;
use openregister_webhooks::delivery::queue::{self, RetrySelection, retry_given_up};
use openregister_webhooks::registry::{Ordering, Status, WebhookId};

use super::rig::{Rig, webhook};
use crate::support::receiver::{Answer, https};
use crate::support::wait::PATIENCE;

const LEFT: &str = "SELECT count(*) FROM openregister_webhooks.delivery";

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_webhook_keeps_collecting_and_resumes_in_order() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    rig.webhooks.put(webhook(1, receiver.url("/")));
    let id = WebhookId(1);
    rig.webhooks.change(id, |w| w.status = Status::Paused);
    let running = rig.dispatcher(&receiver.ca_pem());
    rig.send(1, "a", 0..5).await;
    running.wake(1);
    rig.webhooks.put(webhook(2, receiver.url("/other")));
    rig.send(2, "b", 0..1).await;
    running.wake(2);
    receiver.wait_for(1, PATIENCE).await.unwrap();
    rig.until(LEFT, 5).await;
    rig.webhooks.change(id, |w| w.status = Status::Enabled);
    running.wake(1);
    let got = receiver.wait_for(6, PATIENCE).await.unwrap();
    let ids: Vec<_> = got[1..].iter().map(|r| r.header("webhook-id")).collect();
    assert_eq!(ids, ["evt_a_0", "evt_a_1", "evt_a_2", "evt_a_3", "evt_a_4"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_registration_applies_to_what_waits() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    rig.webhooks.put(webhook(1, receiver.url("/old")));
    receiver.decide(|r| Answer::Status(if r.path == "/old" { 500 } else { 200 }));
    let running = rig.dispatcher(&receiver.ca_pem());
    rig.send(1, "a", 0..2).await;
    running.wake(1);
    receiver.wait_for(1, PATIENCE).await.unwrap();
    let uri = receiver.url("/new");
    rig.webhooks
        .change(WebhookId(1), |w| w.target = uri.parse().unwrap());
    running.wake(1);
    rig.until(LEFT, 0).await;
    let got = receiver.received();
    let new: Vec<_> = got
        .iter()
        .filter(|r| r.path == "/new")
        .map(|r| r.header("webhook-id"))
        .collect();
    assert_eq!(new, ["evt_a_0", "evt_a_1"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_cancels_what_waits_and_keeps_the_log() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    rig.webhooks.put(webhook(1, receiver.url("/")));
    receiver.always(Answer::After(
        Duration::from_millis(300),
        Box::new(Answer::Status(200)),
    ));
    let running = rig.dispatcher(&receiver.ca_pem());
    rig.send(1, "a", 0..3).await;
    rig.send(1, "b", 0..1).await;
    running.wake(1);
    receiver.wait_for(1, PATIENCE).await.unwrap();
    rig.webhooks.remove(WebhookId(1));
    let mut client = rig.pool.get().await.unwrap();
    let delete = "DELETE FROM openregister_webhooks.webhook WHERE id = 1";
    client.execute(delete, &[]).await.unwrap();
    queue::clean(&mut **client, None).await.unwrap();
    let logged = "SELECT count(*) FROM openregister_webhooks.delivery_log WHERE state = 'cancelled' \
        AND cause = 'the webhook was deleted'";
    rig.until(logged, 4).await;
    running.stop().await;
    // The one in flight ended, and found no row.
    assert_eq!(
        rig.count("SELECT count(*) FROM openregister_webhooks.delivery_log")
            .await,
        4
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_ordering_nothing_waits() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    let mut hook = webhook(1, receiver.url("/"));
    hook.ordering = Ordering::None;
    rig.webhooks.put(hook);
    receiver.decide(|r| match r.header("webhook-id") {
        "evt_a_0" => Answer::Status(500),
        _ => Answer::Status(200),
    });
    let events = rig.events("a", 0..10).await;
    let new: Vec<_> = events
        .into_iter()
        .map(|e| openregister_webhooks::delivery::NewDelivery {
            ordered: false,
            ..super::rig::delivery(1, "a", e)
        })
        .collect();
    rig.enqueue(&new).await;
    let running = rig.dispatcher(&receiver.ca_pem());
    rig.until(
        "SELECT count(*) FROM openregister_webhooks.delivery_log WHERE state = 'succeeded'",
        9,
    )
    .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_can_be_retried_by_hand() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    let mut hook = webhook(1, receiver.url("/"));
    hook.retry.max_attempts = 1;
    rig.webhooks.put(hook);
    receiver.next([Answer::Status(500), Answer::Status(500), Answer::Status(500)]);
    let running = rig.dispatcher(&receiver.ca_pem());
    rig.send(1, "a", 0..3).await;
    running.wake(1);
    let given_up = "SELECT count(*) FROM openregister_webhooks.delivery_log WHERE state = 'given_up'";
    rig.until(given_up, 3).await;
    let mut client = rig.pool.get().await.unwrap();
    let tx = client.transaction().await.unwrap();
    assert_eq!(
        retry_given_up(&*tx, WebhookId(1), RetrySelection::After(0), true, 100)
            .await
            .unwrap()
            .count,
        3
    );
    tx.commit().await.unwrap();
    running.wake(1);
    let got = receiver.wait_for(6, PATIENCE).await.unwrap();
    for (i, again) in got[3..].iter().enumerate() {
        assert_eq!(again.header("webhook-id"), format!("evt_a_{i}"));
        assert_eq!(again.header("orw-reason"), "retry");
    }
    running.stop().await;
    let client = rig.pool.get().await.unwrap();
    let page = |state: Option<&str>, before, limit| listing::Query {
        filter: listing::DeliveryFilter::parse([("webhook", "1"), ("state", state.unwrap_or_default())])
            .unwrap(),
        before,
        limit,
    };
    let all = listing::list(&**client, &page(None, None, 100))
        .await
        .unwrap()
        .entries;
    let states: Vec<_> = all.iter().map(|e| e.state.as_str()).collect();
    assert_eq!(
        states,
        [
            "succeeded",
            "succeeded",
            "succeeded",
            "given_up",
            "given_up",
            "given_up"
        ]
    );
    let rest = listing::list(&**client, &page(Some("given_up"), Some(all[4].id), 100))
        .await
        .unwrap()
        .entries;
    assert_eq!(rest.len(), 1);
    assert_eq!(
        (rest[0].id, rest[0].event_id.as_deref()),
        (all[5].id, Some("evt_a_0"))
    );
    let (entry, attempts) = listing::show(&**client, all[5].id).await.unwrap().unwrap();
    assert_eq!(
        (entry.cause.as_deref(), entry.status),
        (Some("status"), Some(500))
    );
    assert_eq!(attempts.len(), 1);
    assert!(listing::show(&**client, all[0].id + 1).await.unwrap().is_none());
    // Nothing is left to retry.
    assert_eq!(
        retry_given_up(&**client, WebhookId(1), RetrySelection::After(0), true, 100)
            .await
            .unwrap()
            .count,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_be_delivered_leaves_the_queue_and_its_events_go() {
    let rig = Rig::new().await;
    let mut client = rig.pool.get().await.unwrap();
    // Webhook 2 is registered, webhook 1 no longer is.
    rig.webhooks.put(webhook(2, "https://example.com/".to_owned()));
    for webhook in [1, 2] {
        rig.send(webhook, "a", 0..3).await;
    }
    // The first of each is of an event that is four days old.
    let age = "UPDATE openregister_webhooks.delivery SET event_day = event_day - 4 WHERE head; \
        INSERT INTO openregister_webhooks.event (day, id, class, lane, at, pid, new, awaiting) \
        VALUES ((now() AT TIME ZONE 'UTC')::date - 4, 'evt_old', 'ObjectCreatedEvent', 'object:a', now(), 1, '{}', false)";
    client.batch_execute(age).await.unwrap();
    maintain(&mut **client, Retention::default()).await.unwrap();
    let of = |state: &str, cause: &str| {
        format!(
            "SELECT count(*) FROM openregister_webhooks.delivery_log WHERE state = '{state}' AND cause = '{cause}'"
        )
    };
    assert_eq!(rig.count(&of("cancelled", "the webhook was deleted")).await, 3);
    assert_eq!(rig.count(&of("given_up", "expired")).await, 1);
    let left = "SELECT count(*) FROM openregister_webhooks.delivery WHERE webhook = 2 AND head = (event_seq = \
        (SELECT min(event_seq) FROM openregister_webhooks.delivery))";
    assert_eq!(rig.count(left).await, 2, "the next one is the head");
    assert_eq!(
        rig.count("SELECT count(*) FROM openregister_webhooks.event WHERE id = 'evt_old'")
            .await,
        0
    );
}

/// However many are registered: only those with something in the queue are asked for, and so become this process's own.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_has_nothing_in_the_queue_costs_nothing() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    for id in 1..=20 {
        rig.webhooks.put(webhook(id, receiver.url("/")));
    }
    let options = Options {
        poll: Duration::from_millis(50),
        ..Options::default()
    };
    let running = rig.dispatcher_with(&receiver.ca_pem(), options);
    // Nobody wakes the dispatcher: it finds them when it looks at the queue.
    for (id, object) in [(7, "a"), (11, "b")] {
        rig.send(id, object, 0..1).await;
    }
    receiver.wait_for(2, PATIENCE).await.unwrap();
    rig.until(LEFT, 0).await;
    let owned = "SELECT count(*) FROM openregister_webhooks.webhook_owner WHERE webhook IN (7, 11)";
    assert_eq!(rig.count(owned).await, 2);
    let others = "SELECT count(*) FROM openregister_webhooks.webhook_owner WHERE webhook NOT IN (7, 11)";
    assert_eq!(rig.count(others).await, 0);
    running.stop().await;
}
