//! Deliveries that are leased in the transaction that enqueues them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use orw_testkit::receiver::Answer;

use super::scene::{Scene, uuid};
use crate::support::wait::until_number;

/// How many changes are made at most: one that meets the look at everything (every 5 s) is claimed.
const OBJECTS: usize = 10;

/// The process that leads and delivers leases what it enqueues; no claim follows. If it is killed before the receiver has answered,
/// another process delivers that, and everything else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_leased_when_it_is_enqueued_is_delivered_after_a_kill() {
    let mut scene = Scene::new(1).await;
    scene
        .register("/", "ObjectUpdatedEvent", serde_json::json!({}))
        .await;
    scene.create(OBJECTS).await;
    // The first is claimed, and makes the process the owner.
    scene.change(1).await;
    scene.arrived(1).await;
    scene.settled().await;
    let silent = Arc::new(AtomicBool::new(true));
    let is_silent = Arc::clone(&silent);
    scene
        .receiver
        .decide(move |_| match is_silent.load(Ordering::SeqCst) {
            true => Answer::Hang,
            false => Answer::Status(200),
        });
    let mut changed = 0;
    let mut at_once = false;
    while !at_once && changed < OBJECTS {
        changed += 1;
        scene.change(changed).await;
        let leased = format!(
            "SELECT count(*) FROM openregister_webhooks.delivery WHERE state = 'leased' AND lane = 'object:{}'",
            uuid(changed)
        );
        until_number(&scene.client, &leased, 1, super::scene::PATIENCE).await;
        // Its row was written by the transaction that stored the event, and not changed since.
        let same = "SELECT d.fence = 1 AND d.xmin = e.xmin FROM openregister_webhooks.delivery d \
            JOIN openregister_webhooks.event e ON (e.day, e.seq) = (d.event_day, d.event_seq) WHERE d.lane = $1";
        let lane = format!("object:{}", uuid(changed));
        at_once = scene.client.query_one(same, &[&lane]).await.unwrap().get(0);
    }
    assert!(at_once, "every delivery was claimed after it had been enqueued");
    let noted = "SELECT count(*) FROM openregister_webhooks.delivery d WHERE NOT EXISTS ( \
        SELECT FROM openregister_webhooks.claim c WHERE c.worker = d.lease_owner AND d.id = ANY (c.deliveries))";
    let not_noted: i64 = scene.client.query_one(noted, &[]).await.unwrap().get(0);
    assert_eq!(not_noted, 0, "leases that are not noted");
    assert_eq!(scene.kill(0).await.len(), changed);
    silent.store(false, Ordering::SeqCst);
    scene.sidecars[0].start().await;
    scene.settled().await;
    let log = "SELECT count(*) FROM openregister_webhooks.delivery_log WHERE state = 'succeeded'";
    let delivered: i64 = scene.client.query_one(log, &[]).await.unwrap().get(0);
    assert_eq!(usize::try_from(delivered).unwrap(), 1 + changed);
    scene.sidecars[0].terminate().await;
}
