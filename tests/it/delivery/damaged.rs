//! Events that cannot be read: the cause decides what happens to their deliveries.

use std::time::Duration;

use openregister_webhooks::delivery::{EventRef, Options};
use openregister_webhooks::registry::RetryPolicy;

use super::rig::{Rig, delivery, webhook};
use crate::support::lossy::{self, How, Loss, Statement};
use crate::support::postgres::{DBA, NEXTCLOUD};
use crate::support::receiver::https;
use crate::support::skipped::skipped;
use crate::support::wait::{PATIENCE, number};

/// Damages what is stored out of line of this event, as a broken disk does: one page of the file, in effect.
/// `false` where this PostgreSQL has not what that takes.
async fn damage(rig: &Rig, event: EventRef) -> bool {
    let dba = rig.db.client_as(DBA).await;
    let there = "SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_surgery'";
    if number(&dba, there).await == 0 {
        skipped(
            "delivery::damaged::a_damaged_event_…",
            "this PostgreSQL has no pg_surgery (it is in Debian's postgresql-15, or in the package of its contrib modules)",
        );
        return false;
    }
    dba.batch_execute("CREATE EXTENSION pg_surgery").await.unwrap();
    // The state is random, so it is large also when compressed, and nothing but this event is stored out of line.
    let large = "UPDATE openregister_webhooks.event SET new = (SELECT json_build_object('uuid', 'bad', 'x', string_agg(md5(random()::text), ''))::text \
        FROM generate_series(1, 2000)) WHERE seq = $1";
    assert_eq!(dba.execute(large, &[&event.seq]).await.unwrap(), 1);
    let toast = "SELECT c.reltoastrelid::regclass::text FROM openregister_webhooks.event e JOIN pg_class c ON c.oid = e.tableoid WHERE e.seq = $1";
    let toast: String = dba.query_one(toast, &[&event.seq]).await.unwrap().get(0);
    let kill = format!(
        "SELECT heap_force_kill('{toast}'::regclass, ARRAY(SELECT ctid FROM {toast} ORDER BY ctid LIMIT 1))"
    );
    dba.batch_execute(&kill).await.unwrap();
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_event_holds_up_its_own_lane_backs_off_and_ends_in_the_quarantine() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    for id in [1, 2, 3] {
        let mut hook = webhook(id, receiver.url(&format!("/{id}")));
        hook.retry = RetryPolicy {
            max_attempts: 3,
            schedule: vec![Duration::from_millis(20)],
        };
        rig.webhooks.put(hook);
    }
    let bad = rig.event("bad", 0).await;
    if !damage(&rig, bad).await {
        return;
    }
    // Two webhooks are to get it; a successor waits behind each.
    rig.enqueue(&[delivery(1, "bad", bad), delivery(2, "bad", bad)])
        .await;
    for id in [1, 2] {
        rig.send(id, "bad", 1..2).await;
    }
    for id in [1, 2, 3] {
        for n in 0..20 {
            rig.send(id, &format!("o{n}"), 0..1).await;
        }
    }
    let running = rig.dispatcher(&receiver.ca_pem());
    rig.until("SELECT count(*) FROM openregister_webhooks.delivery", 0)
        .await;
    let log = |what: &str| format!("SELECT count(*) FROM openregister_webhooks.delivery_log WHERE {what}");
    let given_up = format!(
        "state = 'given_up' AND cause = 'event' AND attempt = 3 AND event_seq = {}",
        bad.seq
    );
    assert_eq!(rig.count(&log(&given_up)).await, 2);
    assert_eq!(rig.count(&log("state = 'succeeded' AND attempt = 1")).await, 62);
    assert_eq!(rig.count(&log("true")).await, 64);
    let attempts =
        "SELECT count(*) FROM openregister_webhooks.attempt WHERE cause = 'event' AND error LIKE '%damaged%'";
    assert_eq!(rig.count(attempts).await, 6);
    // Once, for both webhooks; and consumers that asked for it hear of it.
    let aside = format!(
        "SELECT count(*) FROM openregister_webhooks.quarantine WHERE tbl = 'oc_openregister_objects' AND op = 'I' \
         AND old IS NULL AND new IS NULL AND reason LIKE 'event {} of % (evt_bad_0) cannot be delivered: %'",
        bad.seq
    );
    assert_eq!(rig.count(&aside).await, 1);
    assert_eq!(
        rig.count("SELECT count(*) FROM openregister_webhooks.quarantine")
            .await,
        1
    );
    assert_eq!(
        rig.count("SELECT count(*) FROM openregister_webhooks.gap WHERE told_at IS NULL")
            .await,
        1
    );
    running.stop().await;
    // The later deliveries arrived, and no receiver is counted as failing.
    let got = receiver.received();
    let after = got
        .iter()
        .filter(|r| r.header("webhook-id") == "evt_bad_1")
        .count();
    assert_eq!(after, 2);
    assert_eq!(
        rig.count("SELECT count(*) FROM openregister_webhooks.webhook_health WHERE failures > 0")
            .await,
        0
    );
}

/// It is the fault of no event when its table is not as it should be: nothing is used up, and nothing is asked for again at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_the_database_uses_up_no_attempt_and_is_waited_for() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    rig.webhooks.put(webhook(1, receiver.url("/")));
    let owner = rig.db.client().await;
    owner
        .batch_execute("ALTER TABLE openregister_webhooks.event RENAME COLUMN pid TO away")
        .await
        .unwrap();
    let event = "INSERT INTO openregister_webhooks.event (day, id, class, lane, at, away, new, awaiting) \
        VALUES ((now() AT TIME ZONE 'UTC')::date, 'evt_a_0', 'ObjectCreatedEvent', 'object:a', clock_timestamp(), 1, '{\"uuid\": \"a\"}', false) \
        RETURNING day, seq";
    let row = owner.query_one(event, &[]).await.unwrap();
    let event = EventRef {
        day: row.get(0),
        seq: row.get(1),
    };
    rig.enqueue(&[delivery(1, "a", event)]).await;
    let running = rig.dispatcher(&receiver.ca_pem());
    let put_off = "SELECT count(*) FROM openregister_webhooks.delivery WHERE fence >= 2 AND attempt = 0 AND state = 'pending' \
        AND due_at > created_at + interval '2 seconds'";
    rig.until(put_off, 1).await;
    owner
        .batch_execute("ALTER TABLE openregister_webhooks.event RENAME COLUMN away TO pid")
        .await
        .unwrap();
    let got = receiver.wait_for(1, PATIENCE).await.unwrap();
    assert_eq!(got[0].header("orw-attempt"), "1");
    rig.until("SELECT count(*) FROM openregister_webhooks.delivery", 0)
        .await;
    assert_eq!(
        rig.count("SELECT count(*) FROM openregister_webhooks.quarantine")
            .await,
        0
    );
    running.stop().await;
}

/// A pooler or a network path that has lost its state: the query arrives, but the answer never does. The lane goes on.
#[tokio::test(flavor = "multi_thread")]
async fn the_silence_of_the_database_is_waited_for_with_a_limit() {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    rig.webhooks.put(webhook(1, receiver.url("/")));
    rig.send(1, "a", 0..2).await;
    let way = lossy::before(&rig.db);
    way.plan(vec![Loss {
        statement: Statement::Read,
        after: 0,
        how: How::Stall(Duration::MAX),
    }]);
    let options = Options {
        query_timeout: Duration::from_millis(500),
        // The event is read apart from the lease.
        read_ahead: 0,
        ..Options::default()
    };
    let url = way.url(NEXTCLOUD, rig.db.name());
    let running = rig.dispatcher_over(&url, &receiver.ca_pem(), options);
    let got = receiver.wait_for(2, PATIENCE).await.unwrap();
    assert_eq!(way.lost().get(&Statement::Read), Some(&1));
    assert!(got.iter().all(|request| request.header("orw-attempt") == "1"));
    running.stop().await;
}
