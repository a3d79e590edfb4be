//! Leases and ownership if answers are lost, the database hangs, or another process takes over.

use std::time::Duration;

use openregister_webhooks::delivery::Options;
use openregister_webhooks::registry::{RetryPolicy, WebhookId};

use super::rig::{Rig, webhook};
use crate::support::lossy::{self, How, Loss, Statement};
use crate::support::postgres::NEXTCLOUD;
use crate::support::receiver::{Answer, https};

const HOUR: Duration = Duration::from_secs(3600);
const WAITING: &str = "SELECT count(*) FROM openregister_webhooks.delivery";

/// The answers to claims are lost after these have committed leases: the claiming worker never hears of them.
#[tokio::test(flavor = "multi_thread")]
async fn rows_whose_lease_nobody_knows_of_come_free() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    rig.webhooks.put(webhook(1, receiver.url("/")));
    rig.send(1, "now", 0..1).await;
    let way = lossy::before(&rig.db);
    let loss = Loss {
        statement: Statement::Claim,
        after: 0,
        how: How::Drop,
    };
    way.plan(vec![loss; 3]);
    let url = way.url(NEXTCLOUD, rig.db.name());
    let running = rig.dispatcher_over(&url, &receiver.ca_pem(), Options::default());
    // Each time it is given back, and taken again.
    rig.until(WAITING, 0).await;
    assert_eq!(way.lost().get(&Statement::Claim), Some(&3));
    assert_eq!(receiver.received().len(), 1);
    // Claim notes are removed in the end.
    rig.until("SELECT count(*) FROM openregister_webhooks.claim", 0)
        .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delivery_goes_on_after_the_database_was_away_for_longer_than_a_lease_lasts() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    rig.webhooks.put(webhook(1, receiver.url("/")));
    let running = rig.dispatcher(&receiver.ca_pem());
    rig.send(1, "before", 0..1).await;
    running.wake(1);
    rig.until(WAITING, 0).await;
    let mut locker = rig.db.client().await;
    let lock = locker.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE openregister_webhooks.worker")
        .await
        .unwrap();
    // The worker has given its lease up, and tries again over another connection.
    rig.until(
        "SELECT least(count(DISTINCT pid), 2) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' \
         AND query ~ '^(INSERT INTO|UPDATE) openregister_webhooks.worker'",
        2,
    )
    .await;
    lock.rollback().await.unwrap();
    rig.send(1, "after", 0..1).await;
    running.wake(1);
    rig.until(WAITING, 0).await;
    running.stop().await;
}

/// A success ends the period of failures, whichever process saw the failures.
#[tokio::test(flavor = "multi_thread")]
async fn a_success_after_a_takeover_ends_the_failures_of_the_process_before() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    let mut hook = webhook(1, receiver.url("/"));
    hook.retry = RetryPolicy {
        max_attempts: 11,
        schedule: vec![HOUR],
    };
    rig.webhooks.put(hook);
    let first = rig.dispatcher(&receiver.ca_pem());
    rig.send(1, "first", 0..1).await;
    first.wake(1);
    rig.until(WAITING, 0).await;
    let second = rig.dispatcher(&receiver.ca_pem());
    // The second one is at work for another webhook, so it has read what there is about the first.
    rig.webhooks.put(webhook(2, receiver.url("/other")));
    rig.send(2, "other", 0..1).await;
    second.wake(2);
    rig.until(WAITING, 0).await;
    receiver.decide(|_| Answer::Status(500));
    rig.send(1, "second", 0..1).await;
    first.wake(1);
    let failing = "SELECT count(*) FROM openregister_webhooks.webhook_health WHERE webhook = 1 AND failing_since IS NOT NULL";
    rig.until(failing, 1).await;
    first.stop().await;
    receiver.decide(|_| Answer::Status(200));
    let due = "UPDATE openregister_webhooks.delivery SET due_at = clock_timestamp()";
    rig.db.client().await.batch_execute(due).await.unwrap();
    second.wake(1);
    rig.until(WAITING, 0).await;
    rig.until(failing, 0).await;
    second.stop().await;
}

/// Whichever part sees the change of the registration first, pending deliveries become due.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_counts_while_something_is_being_sent() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    let mut hook = webhook(1, receiver.url("/"));
    hook.retry.schedule = vec![HOUR];
    (hook.limits.per_second, hook.limits.burst) = (1, 1);
    rig.webhooks.put(hook);
    receiver.decide(|request| match request.header("orw-attempt") {
        "1" if request.header("webhook-id").contains("failing") => Answer::Status(500),
        _ => Answer::Status(200),
    });
    let running = rig.dispatcher_with(
        &receiver.ca_pem(),
        Options {
            poll: HOUR,
            ..Options::default()
        },
    );
    rig.send(1, "failing", 0..1).await;
    for n in 0..4 {
        rig.send(1, &format!("good{n}"), 0..1).await;
    }
    running.wake(1);
    rig.until(
        "SELECT count(*) FROM openregister_webhooks.delivery_log WHERE state = 'succeeded'",
        1,
    )
    .await;
    rig.webhooks.change(WebhookId(1), |hook| {
        hook.limits.timeout = Duration::from_secs(61);
    });
    // No notification and no poll: the next request reads the current registration.
    rig.until(WAITING, 0).await;
    assert_eq!(receiver.received().len(), 6);
    running.stop().await;
}
