//! Who began a job and who ended it is recorded; a job ends when its webhook is deleted or another database takes its place.

use orw_testkit::Generation;
use serde_json::{Value, json};

use crate::support::scene::{API, PATIENCE, Scene, uuid};

const CREATED: &str = r"OCA\OpenRegister\Event\ObjectCreatedEvent";
/// More than a webhook's deliveries that may wait before its job does.
const MANY: i32 = 6000;

/// A paused webhook, so that a job of it fills the queue and waits.
async fn paused(scene: &Scene) -> i64 {
    let webhook = scene.register(CREATED, json!({})).await;
    let path = format!("{API}/webhooks/{webhook}/pause");
    assert_eq!(scene.sidecar.api("POST", &path, json!({})).await.status, 200);
    webhook
}

/// Begins a backfill over the API; its number, once it waits.
async fn backfill(scene: &Scene, webhook: i64) -> i64 {
    let path = format!("{API}/webhooks/{webhook}/backfill");
    let reply = scene.sidecar.api("POST", &path, json!({})).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let job = reply.json()["ocs"]["data"]["id"].as_i64().unwrap();
    let waits =
        "SELECT count(*) FROM openregister_webhooks.job WHERE waiting IS NOT NULL AND state = 'running'";
    scene.until(waits, 1).await;
    job
}

async fn remove(scene: &Scene, webhook: i64) {
    let path = format!("/ocs/v2.php/apps/webhook_listeners/api/v1/webhooks/{webhook}?format=json");
    let reply = scene.sidecar.api("DELETE", &path, json!({})).await;
    assert_eq!((reply.status, &reply.json()["ocs"]["data"]), (200, &json!(true)));
}

async fn job(scene: &Scene, job: i64) -> Value {
    scene.json(&["job", "show", &job.to_string(), "--json"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_began_and_who_cancelled_a_job_is_in_the_audit_table() {
    let mut scene = Scene::new(Generation::V0_2_13).await;
    scene.objects(1, MANY).await;
    scene.sidecar.start().await;
    let webhook = paused(&scene).await;
    let id = webhook.to_string();
    let first = backfill(&scene, webhook).await;
    // A job that was refused leaves no trace.
    let path = format!("{API}/webhooks/{webhook}/replay");
    let reply = scene.sidecar.api("POST", &path, json!({"since": "1h"})).await;
    assert_eq!(reply.status, 409, "{}", reply.body);
    let cancel = format!("{API}/jobs/{first}/cancel");
    for _ in 0..2 {
        let reply = scene.sidecar.api("POST", &cancel, json!({})).await;
        assert_eq!(
            (reply.status, &reply.json()["ocs"]["data"]["state"]),
            (200, &json!("cancelled"))
        );
    }
    let nothing = scene
        .sidecar
        .api("POST", &format!("{API}/jobs/99/cancel"), json!({}))
        .await;
    assert_eq!(nothing.status, 404);
    let since = "2026-01-01T00:00:00Z";
    let object = uuid(7);
    let second = scene
        .json(&[
            "replay",
            "--webhook",
            &id,
            "--since",
            since,
            "--object",
            &object,
            "--background",
            "--json",
        ])
        .await;
    scene
        .json(&["job", "cancel", &second["id"].to_string(), "--json"])
        .await;

    let audit = scene.json(&["webhook", "audit", &id, "--json"]).await;
    let rows: Vec<(&Value, &Value, &Value)> = audit
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|row| (&row["action"], &row["client"], &row["detail"]["job"]))
        .collect();
    let (at, first, second) = (json!("127.0.0.1"), json!(first), second["id"].clone());
    assert_eq!(
        rows,
        [
            (&json!("create"), &at, &Value::Null),
            (&json!("pause"), &at, &Value::Null),
            (&json!("backfill"), &at, &first),
            (&json!("cancel-backfill"), &at, &first),
            (&json!("replay"), &Value::Null, &second),
            (&json!("cancel-replay"), &Value::Null, &second),
        ]
    );
    let who = |row: usize| audit[row]["who"].as_str().unwrap().to_owned();
    assert_eq!((who(3), who(2)), ("admin".to_owned(), "admin".to_owned()));
    assert!(who(1).starts_with("cli") && who(0) == who(1), "{audit}");
    let asked = &audit[1]["detail"]["asked"];
    assert_eq!(
        (&asked["since"], &asked["object"]),
        (&json!(since), &json!(object))
    );
    // The job's request names the object, so erasing removes that, too.
    scene.json(&["erase", &object, "--json"]).await;
    let audit = scene.json(&["webhook", "audit", &id, "--json"]).await;
    assert_eq!(audit[1]["detail"]["asked"]["object"], "erased");
    assert!(!audit.to_string().contains(&object), "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_ends_with_its_webhook_and_what_it_enqueued_is_cancelled() {
    let mut scene = Scene::new(Generation::V0_2_13).await;
    scene.objects(1, MANY).await;
    scene.sidecar.start().await;
    let other = scene
        .register(CREATED, json!({"uri": scene.receiver.url("/other")}))
        .await;

    let webhook = paused(&scene).await;
    let number = backfill(&scene, webhook).await;
    remove(&scene, webhook).await;
    let ended = "SELECT count(*) FROM openregister_webhooks.job WHERE state = 'cancelled'";
    scene.until(ended, 1).await;
    let done = job(&scene, number).await;
    assert_eq!(
        (&done["state"], &done["note"], &done["waiting"]),
        (
            &json!("cancelled"),
            &json!("the webhook was deleted"),
            &Value::Null
        )
    );
    assert!(
        done["finishedAt"].is_string() && done["enqueued"].as_i64() >= Some(5000),
        "{done}"
    );
    scene
        .until("SELECT count(*) FROM openregister_webhooks.delivery", 0)
        .await;
    let cancelled = format!(
        "SELECT count(*) FROM openregister_webhooks.delivery_log WHERE webhook = {webhook} AND state = 'cancelled' \
         AND cause LIKE '%deleted%'"
    );
    assert_eq!(Some(scene.count(&cancelled).await), done["enqueued"].as_i64());
    let (code, out, _) = scene
        .sidecar
        .cli(&["job", "show", &number.to_string(), "--follow"])
        .await;
    assert!(
        code == 1 && out.contains("the webhook was deleted"),
        "{code}: {out}"
    );

    // A replay holds the new events back; they are not enqueued for a webhook that is gone.
    let stored = "INSERT INTO openregister_webhooks.event (day, id, class, lane, at, pid, new, awaiting) \
        SELECT (now() AT TIME ZONE 'UTC')::date, 'evt_' || n, 'ObjectCreatedEvent', 'object:x' || n, now(), 1, \
        '{\"uuid\": \"x\"}', false FROM generate_series(1, 7000) n";
    scene.client.batch_execute(stored).await.unwrap();
    let webhook = paused(&scene).await;
    let path = format!("{API}/webhooks/{webhook}/replay");
    let reply = scene.sidecar.api("POST", &path, json!({"since": "1h"})).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let waits = "SELECT count(*) FROM openregister_webhooks.job WHERE waiting IS NOT NULL";
    scene.until(waits, 1).await;
    scene.objects(MANY + 1, MANY + 3).await;
    scene.receiver.wait_for(3, PATIENCE).await.unwrap();
    remove(&scene, webhook).await;
    scene.until(ended, 2).await;
    scene.settled().await;
    assert_eq!(scene.receiver.count(), 3, "nothing went to a deleted webhook");
    assert!(scene.receiver.received().iter().all(|r| r.path == "/other"));
    let later = format!(
        "SELECT count(*) FROM openregister_webhooks.delivery_log WHERE webhook = {webhook} AND state <> 'cancelled'"
    );
    assert_eq!(scene.count(&later).await, 0);
    // Nothing of it is left for the next job.
    let path = format!("{API}/webhooks/{other}/replay");
    assert_eq!(
        scene
            .sidecar
            .api("POST", &path, json!({"since": "1s"}))
            .await
            .status,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_discards_goes_on_with_no_job_of_the_original() {
    let mut scene = Scene::new(Generation::V0_2_13).await;
    scene.objects(1, MANY).await;
    scene.sidecar.start().await;
    let webhook = paused(&scene).await;
    let number = backfill(&scene, webhook).await;
    let pending = scene
        .count("SELECT count(*) FROM openregister_webhooks.delivery")
        .await;
    scene.sidecar.kill().await;
    // As after a restore: the position is one of another cluster.
    let foreign = "INSERT INTO openregister_webhooks.position_0 (n, snapshot, system_identifier, database_oid) VALUES (4095, '9:9:', 1, 1)";
    scene.client.batch_execute(foreign).await.unwrap();
    scene
        .client
        .batch_execute("DELETE FROM openregister_webhooks.position_1")
        .await
        .unwrap();
    let done = scene.json(&["adopt", "--discard", "--json"]).await;
    assert_eq!(done["cancelled"].as_i64(), Some(pending));
    let ended = job(&scene, number).await;
    assert_eq!(ended["state"], "cancelled");
    assert!(
        ended["note"].as_str().unwrap().contains("adopted with --discard"),
        "{ended}"
    );
    scene.sidecar.start().await;
    let path = format!("{API}/webhooks/{webhook}/resume");
    assert_eq!(scene.sidecar.api("POST", &path, json!({})).await.status, 200);
    scene.objects(MANY + 1, MANY + 1).await;
    let got = scene.receiver.wait_for(1, PATIENCE).await.unwrap();
    assert_eq!(got[0].json()["data"]["object"]["uuid"], uuid(MANY + 1));
    scene.settled().await;
    assert_eq!(scene.receiver.count(), 1, "nothing of the original's job is sent");
    assert_eq!(job(&scene, number).await["enqueued"], ended["enqueued"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_cannot_be_read_is_listed_and_can_be_cancelled() {
    let mut scene = Scene::new(Generation::V0_2_13).await;
    scene.objects(1, MANY).await;
    scene.sidecar.start().await;
    let webhook = paused(&scene).await;
    let id = backfill(&scene, webhook).await;
    // Erasing an object touches only what names it: a number of the request is not the object of that name.
    let before = job(&scene, id).await["ask"].clone();
    assert!(before.is_object(), "{before}");
    for name in ["1", "null", ":", ","] {
        let (code, _, err) = scene.sidecar.cli(&["erase", "--any-form", name]).await;
        assert!(
            code == 1 && err.contains("nothing is stored"),
            "{name}: {code} {err}"
        );
    }
    assert_eq!(job(&scene, id).await["ask"], before);

    scene
        .client
        .batch_execute("UPDATE openregister_webhooks.job SET ask = '{\"table\": no JSON'")
        .await
        .unwrap();
    let listed = scene.json(&["job", "list", "--json"]).await;
    let shown = listed.as_array().unwrap().iter().find(|job| job["id"] == id);
    assert_eq!(shown.unwrap()["ask"], "{\"table\": no JSON");
    let cancel = format!("{API}/jobs/{id}/cancel");
    let reply = scene.sidecar.api("POST", &cancel, json!({})).await;
    assert_eq!(
        (reply.status, &reply.json()["ocs"]["data"]["state"]),
        (200, &json!("cancelled"))
    );
    scene.sidecar.terminate().await;
}
