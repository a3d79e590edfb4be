//! What a backfill sends.

use std::collections::BTreeSet;

use orw_testkit::Generation;
use orw_testkit::receiver::Received;
use serde_json::json;

use crate::support::scene::{API, PATIENCE, Scene, uuid};

const CREATED: &str = r"OCA\OpenRegister\Event\ObjectCreatedEvent";

fn uuids(received: &[Received]) -> BTreeSet<String> {
    received
        .iter()
        .map(|r| {
            r.json()["data"]["object"]["uuid"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_current_object_is_sent_as_created_and_no_deleted_one() {
    let mut scene = Scene::new(Generation::V0_2_13).await;
    scene.objects(1, 600).await;
    scene
        .client
        .batch_execute(
            "UPDATE oc_openregister_table_1_1 SET _deleted = '{\"deletedBy\": \"bob\"}' WHERE _id % 10 = 0;
             INSERT INTO oc_openregister_objects (uuid, register, schema, object, created, updated, owner)
             VALUES ('blob-1', '1', '1', '{\"name\": \"old\"}', now(), now(), 'alice'), ('blob-2', '7', '9', '{}', now(), now(), NULL);
             INSERT INTO oc_openregister_objects (uuid, register, schema, object, created, updated)
             SELECT _uuid, '1', '1', '{}', now(), now() FROM oc_openregister_table_1_1 WHERE _id = 1;",
        )
        .await
        .unwrap();
    scene.sidecar.start().await;
    let webhook = scene.register(CREATED, json!({})).await;
    let other = scene
        .register(CREATED, json!({"uri": scene.receiver.url("/other")}))
        .await;

    let job = scene
        .json(&["backfill", "--webhook", &webhook.to_string(), "--json"])
        .await;
    assert_eq!(job["state"], "done");
    assert_eq!((&job["seen"], &job["enqueued"]), (&json!(603), &json!(542)));
    scene.settled().await;
    let got = scene.receiver.received();
    assert_eq!(got.len(), 542);
    let mut expected: BTreeSet<String> = (1..=600).filter(|n| n % 10 != 0).map(uuid).collect();
    expected.extend(["blob-1".to_owned(), "blob-2".to_owned()]);
    assert_eq!(uuids(&got), expected);
    for one in &got {
        assert_eq!(one.header("orw-reason"), "backfill");
        assert_eq!(one.path, "/hook");
        assert_eq!(one.json()["event"], CREATED);
    }
    let object = got
        .iter()
        .find(|r| r.json()["data"]["object"]["uuid"] == uuid(7))
        .unwrap()
        .json();
    assert_eq!(object["data"]["object"]["register"], "people");
    assert_eq!(object["data"]["object"]["data"]["name"], "n7");
    let ids: BTreeSet<&str> = got.iter().map(|r| r.header("webhook-id")).collect();
    assert_eq!(ids.len(), 542, "every delivery has an id of its own");

    // One register by its slug, to the other webhook, over the API.
    scene.receiver.forget();
    let path = format!("{API}/webhooks/{other}/backfill");
    let begun = scene.sidecar.api("POST", &path, json!({"register": "7"})).await;
    assert_eq!(begun.status, 400, "{}", begun.body);
    let begun = scene
        .sidecar
        .api("POST", &path, json!({"register": "people", "schema": "1"}))
        .await;
    assert_eq!(begun.status, 200, "{}", begun.body);
    scene.settled().await;
    let got = scene.receiver.received();
    expected.remove("blob-2");
    assert_eq!(uuids(&got), expected);
    assert!(got.iter().all(|r| r.path == "/other"));

    // What a backfill made is no part of the stream that another webhook replays.
    scene.receiver.forget();
    let job = scene
        .json(&[
            "replay",
            "--webhook",
            &webhook.to_string(),
            "--since",
            "1h",
            "--json",
        ])
        .await;
    assert_eq!((&job["state"], &job["enqueued"]), (&json!("done"), &json!(0)));
    assert_eq!(scene.receiver.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_goes_through_the_filter_and_waits_while_much_is_pending() {
    let mut scene = Scene::new(Generation::V0_2_9).await;
    scene
        .client
        .batch_execute(
            "INSERT INTO oc_openregister_objects (uuid, register, schema, object, created, updated)
             SELECT 'u' || g, '1', '1', json_build_object('age', g % 2), now(), now() FROM generate_series(1, 12000) g",
        )
        .await
        .unwrap();
    scene.sidecar.start().await;
    let webhook = scene
        .register(
            CREATED,
            json!({"eventFilter": {"event.object.data.age": 1}, "rateLimit": {"perSecond": 10000, "burst": 10000}}),
        )
        .await;
    let pause = format!("{API}/webhooks/{webhook}/pause");
    assert_eq!(scene.sidecar.api("POST", &pause, json!({})).await.status, 200);
    let id = webhook.to_string();
    let job = scene
        .json(&["backfill", "--webhook", &id, "--background", "--json"])
        .await;
    let waits =
        "SELECT count(*) FROM openregister_webhooks.job WHERE waiting LIKE '%5000 deliveries waiting%paused'";
    scene.until(waits, 1).await;
    let pending = scene
        .count("SELECT count(*) FROM openregister_webhooks.delivery")
        .await;
    assert!((5000..5250).contains(&pending), "{pending}");
    // One at a time.
    let (code, _, errors) = scene
        .sidecar
        .cli(&["replay", "--webhook", &id, "--since", "1h"])
        .await;
    assert_eq!(code, 1);
    assert!(errors.contains("is at work"), "{errors}");
    let cancelled = scene
        .json(&["job", "cancel", &job["id"].to_string(), "--json"])
        .await;
    assert_eq!(cancelled["state"], "cancelled");
    // And what it put into the queue arrives.
    let resume = format!("{API}/webhooks/{webhook}/resume");
    assert_eq!(scene.sidecar.api("POST", &resume, json!({})).await.status, 200);
    let got = scene
        .receiver
        .wait_for(usize::try_from(pending).unwrap(), PATIENCE)
        .await
        .unwrap();
    assert!(got.iter().all(|r| r.json()["data"]["object"]["data"]["age"] == 1));
    scene.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_backfilled_is_said_before_anything_begins() {
    let mut scene = Scene::new(Generation::V0_2_13).await;
    scene.sidecar.start().await;
    let updates = scene
        .register(r"OCA\OpenRegister\Event\ObjectUpdatedEvent", json!({}))
        .await;
    let created = scene.register(CREATED, json!({})).await;
    let post = async |webhook: i64, body| {
        let path = format!("{API}/webhooks/{webhook}/backfill");
        let reply = scene.sidecar.api("POST", &path, body).await;
        (
            reply.status,
            reply.json()["ocs"]["meta"]["message"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        )
    };
    let (status, message) = post(updates, json!({})).await;
    assert!(
        status == 409 && message.contains("not registered for"),
        "{status} {message}"
    );
    let (status, message) = post(created, json!({"table": "oc_users"})).await;
    assert!(
        status == 400 && message.starts_with("table:"),
        "{status} {message}"
    );
    let (status, _) = post(
        created,
        json!({"table": "oc_openregister_table_1_1", "schema": "1"}),
    )
    .await;
    assert_eq!(status, 400);
    let (status, _) = post(5, json!({})).await;
    assert_eq!(status, 404);
    // Nextcloud alters the table that the name is looked up in: nobody waits for the end of that.
    let mut altering = scene.db.client().await;
    let lock = altering.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE oc_openregister_registers")
        .await
        .unwrap();
    let (status, message) = post(created, json!({"register": "1"})).await;
    assert_eq!(status, 503, "{message}");
    lock.rollback().await.unwrap();
    scene
        .sidecar
        .api("POST", &format!("{API}/webhooks/{created}/disable"), json!({}))
        .await;
    let (status, message) = post(created, json!({})).await;
    assert!(
        status == 409 && message.contains("disabled"),
        "{status} {message}"
    );
    assert_eq!(
        scene
            .count("SELECT count(*) FROM openregister_webhooks.job")
            .await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_nextcloud_alters_delays_its_backfill_and_nothing_else() {
    let mut scene = Scene::new(Generation::V0_2_13).await;
    scene.objects(1, 600).await;
    scene.sidecar.start().await;
    let webhook = scene.register(CREATED, json!({})).await;
    scene
        .register(
            r"OCA\OpenRegister\Event\RegisterUpdatedEvent",
            json!({"uri": scene.receiver.url("/other")}),
        )
        .await;
    let altering = scene.db.client().await;
    altering
        .batch_execute("BEGIN; LOCK TABLE oc_openregister_table_1_1 IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let id = webhook.to_string();
    scene
        .json(&["backfill", "--webhook", &id, "--background", "--json"])
        .await;
    for number in 1..=5 {
        let waits =
            "SELECT count(*) FROM openregister_webhooks.job WHERE waiting LIKE '%tried again%lock timeout%'";
        scene.until(waits, 1).await;
        let change = "UPDATE oc_openregister_registers SET title = title || '!'";
        let began = std::time::Instant::now();
        scene.client.batch_execute(change).await.unwrap();
        let arrived = scene.receiver.wait_for(number, PATIENCE).await.unwrap();
        assert!(arrived.iter().all(|r| r.path == "/other"));
        // If a step waited for the table while it holds the queue's lock, this would be ten on any machine.
        assert!(began.elapsed().as_secs() < 9, "{:?}", began.elapsed());
    }
    altering.batch_execute("COMMIT").await.unwrap();
    let got = scene.receiver.wait_for(605, PATIENCE).await.unwrap();
    assert_eq!(got.iter().filter(|r| r.path == "/hook").count(), 600);
    scene.settled().await;
}
