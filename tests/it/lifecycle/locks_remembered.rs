//! What is remembered of locks: it is forgotten with the object, is bounded, and survives an upgrade.

use openregister_webhooks::lifecycle::locks;
use orw_testkit::Generation;
use orw_testkit::writer::Place;
use serde_json::json;

use super::locks::{class, person, writer};
use super::rig::install;
use crate::support::capture::older_schema;
use crate::support::postgres::Db;
use crate::support::scene::Scene;

/// Erasing an object forgets its lock. While no webhook listens to objects, their locks are unknown, so what was known before
/// does not count any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_is_forgotten_with_its_object_and_while_nobody_listens() {
    let scene = Scene::on(Db::openregister_0_2_13().await).running().await;
    let first = scene.register(r"OCA\OpenRegister\Event\Object*", json!({})).await;
    let php = async || writer(&scene.db, Generation::V0_2_13).await;
    let ada = php().await.create(Place::PEOPLE, &person("Ada")).await.unwrap();
    php().await.lock(&ada, 60).await.unwrap();
    scene.received(2).await;
    let erased = scene.sidecar.json(&["erase", &ada.uuid, "--json"]).await;
    assert_eq!(erased["locks"], json!(1), "{erased}");
    let remembered = "SELECT count(*) FROM openregister_webhooks.object_lock";
    scene.until(remembered, 0).await;
    php().await.put(&ada, &person("Eve")).await.unwrap();

    php().await.lock(&ada, 60).await.unwrap();
    scene.received(4).await;
    let path = format!("/ocs/v2.php/apps/webhook_listeners/api/v1/webhooks/{first}");
    assert_eq!(scene.sidecar.api("DELETE", &path, json!({})).await.status, 200);
    php().await.unlock(&ada).await.unwrap();
    // Only Unlocked is asked for: a lock is remembered all the same.
    scene
        .register(r"OCA\OpenRegister\Event\ObjectUnlockedEvent", json!({}))
        .await;
    scene
        .register(r"OCA\OpenRegister\Event\ObjectUpdatedEvent", json!({}))
        .await;
    php().await.put(&ada, &person("Mae")).await.unwrap();
    php().await.lock(&ada, 60).await.unwrap();
    php().await.put(&ada, &person("Joy")).await.unwrap();
    let mut events: Vec<String> = scene.received(7).await.iter().map(class).collect();
    // Two webhooks do not wait for each other.
    events[4..].sort();
    assert_eq!(
        events,
        [
            "ObjectCreatedEvent",
            "ObjectLockedEvent",
            "ObjectUpdatedEvent",
            "ObjectLockedEvent",
            "ObjectUnlockedEvent",
            "ObjectUpdatedEvent",
            "ObjectUpdatedEvent",
        ]
    );
}

#[tokio::test]
async fn what_is_remembered_of_locks_is_bounded() {
    let db = Db::openregister(Generation::V0_2_13).await;
    install(&db).await;
    let client = db.client().await;
    let rows = "INSERT INTO openregister_webhooks.object_lock (uuid, epoch, set_at) \
                SELECT 'o' || n, epoch - (n % 2), now() - make_interval(hours => n) FROM generate_series(1, 10) n, openregister_webhooks.object_capture";
    client.execute(rows, &[]).await.unwrap();
    locks::trim(&client, 3).await.unwrap();
    let left = client
        .query(
            "SELECT uuid FROM openregister_webhooks.object_lock ORDER BY set_at DESC",
            &[],
        )
        .await
        .unwrap();
    let left: Vec<String> = left.iter().map(|row| row.get(0)).collect();
    assert_eq!(left, ["o2", "o4", "o6"]);
}

/// The upgrade remembers the locks that an earlier version announced and did not see the end of.
#[tokio::test]
async fn an_upgrade_remembers_the_locks_that_were_announced_before_it() {
    let db = Db::openregister(Generation::V0_2_13).await;
    let client = db.client().await;
    older_schema(&client, 13).await;
    client
        .batch_execute(
            "INSERT INTO openregister_webhooks.event (day, id, class, lane, at, pid, new, awaiting) \
             SELECT current_date - days, 'evt_' || n, 'Object' || action || 'Event', 'object:' || object, now(), 1, '{}', false \
             FROM (VALUES (1, 1, 'Locked', 'held'), (2, 0, 'Locked', 'held'), (3, 1, 'Locked', 'free'), (4, 0, 'Unlocked', 'free'), \
                          (5, 0, 'Locked', 'gone'), (6, 0, 'Deleted', 'gone'), (7, 0, 'Created', 'new')) AS e (n, days, action, object)",
        )
        .await
        .unwrap();
    install(&db).await;
    let rows = client
        .query("SELECT uuid, audit FROM openregister_webhooks.object_lock", &[])
        .await
        .unwrap();
    let held: Vec<(String, Option<i64>)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(held, [("held".to_owned(), None)]);
}
