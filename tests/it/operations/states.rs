//! A webhook that is disabled, paused, updated or deleted while deliveries of it wait.

use orw_testkit::Generation;
use orw_testkit::receiver::Received;
use serde_json::{Value, json};
use std::time::Duration;

use crate::support::receiver::Answer;
use crate::support::scene::{API, PATIENCE, Scene, uuid};

const UPDATED: &str = r"OCA\OpenRegister\Event\ObjectUpdatedEvent";
const LISTENERS: &str = "/ocs/v2.php/apps/webhook_listeners/api/v1/webhooks";
/// So long that a failed attempt is not repeated within a test.
const LATER: i64 = 3600;

/// Two objects, a running sidecar, and a witness: a webhook that gets what is captured, whatever becomes of the other.
async fn scene() -> Scene {
    let mut scene = Scene::new(Generation::V0_2_13).await;
    scene.objects(1, 2).await;
    scene.sidecar.start().await;
    scene
        .register(UPDATED, json!({"uri": scene.receiver.url("/witness")}))
        .await;
    scene
}

async fn act(scene: &Scene, webhook: i64, action: &str) -> Value {
    let path = format!("{API}/webhooks/{webhook}/{action}");
    let reply = scene
        .sidecar
        .api("POST", &path, json!({"reason": "maintenance"}))
        .await;
    assert_eq!(reply.status, 200, "{action}: {}", reply.body);
    reply.json()["ocs"]["data"]["status"].clone()
}

/// Ages an object by a year, and waits until the pipeline has seen it.
async fn age(scene: &Scene, object: i32) {
    let sql = "UPDATE oc_openregister_table_1_1 SET age = age + 1 WHERE _uuid = $1 RETURNING age::bigint";
    let age: i64 = scene
        .client
        .query_one(sql, &[&uuid(object)])
        .await
        .unwrap()
        .get(0);
    let seen = |all: &[Received]| ages(all, "/witness", object).contains(&age);
    scene.receiver.wait_until(seen, PATIENCE).await.unwrap();
}

fn ages(all: &[Received], path: &str, object: i32) -> Vec<i64> {
    all.iter()
        .filter(|request| request.path == path && matches!(request.answer, Answer::Status(200)))
        .map(Received::json)
        .filter(|body| body["data"]["newObject"]["uuid"] == uuid(object))
        .map(|body| body["data"]["newObject"]["data"]["age"].as_i64().unwrap())
        .collect()
}

/// The receiver of `/hook` answers with this status, all others with 200.
fn answer(scene: &Scene, status: u16) {
    scene
        .receiver
        .decide(move |request| Answer::Status(if request.path == "/hook" { status } else { 200 }));
}

async fn pending(scene: &Scene, webhook: i64) -> i64 {
    let sql = format!("SELECT count(*) FROM openregister_webhooks.delivery WHERE webhook = {webhook}");
    scene.count(&sql).await
}

async fn tried(scene: &Scene, webhook: i64, attempts: i64) {
    let sql = format!("SELECT count(*) FROM openregister_webhooks.attempt WHERE webhook = {webhook}");
    scene.until(&sql, attempts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_webhook_collects_nothing_keeps_what_waits_and_resumes_at_once_in_order() {
    let scene = scene().await;
    answer(&scene, 503);
    let webhook = scene
        .register(UPDATED, json!({"retry": {"schedule": [LATER, LATER]}}))
        .await;
    for object in [1, 2, 1] {
        age(&scene, object).await;
    }
    tried(&scene, webhook, 2).await;
    let health = format!(
        "SELECT count(*) FROM openregister_webhooks.webhook_health WHERE webhook = {webhook} AND failures = 2"
    );
    scene.until(&health, 1).await;
    let status = act(&scene, webhook, "disable").await;
    assert_eq!(
        (&status["state"], &status["reason"]),
        (&json!("disabled"), &json!("maintenance"))
    );
    // Nothing new is collected, nothing that waits is lost, nothing is sent.
    for object in [1, 2] {
        age(&scene, object).await;
    }
    assert_eq!(pending(&scene, webhook).await, 3);
    let refused = scene
        .sidecar
        .api(
            "POST",
            &format!("{API}/webhooks/{webhook}/replay"),
            json!({"since": "1h"}),
        )
        .await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    // The receiver has been failing for so long that a failure would disable the webhook; whoever enables it knows better.
    let long = format!(
        "UPDATE openregister_webhooks.webhook_health SET failing_since = now() - interval '6 days' WHERE webhook = {webhook}"
    );
    assert_eq!(scene.client.execute(&long, &[]).await.unwrap(), 1);
    assert_eq!(act(&scene, webhook, "enable").await["state"], "enabled");
    // Both heads are tried at once, although their next attempt was an hour away; they fail once more.
    tried(&scene, webhook, 4).await;
    let anew = format!(
        "SELECT count(*) FROM openregister_webhooks.webhook_health WHERE webhook = {webhook} AND failures = 4 \
         AND failing_since > now() - interval '1 hour'"
    );
    scene.until(&anew, 1).await;
    let shown = scene
        .json(&["webhook", "show", &webhook.to_string(), "--json"])
        .await;
    assert_eq!(shown["status"]["state"], "enabled");

    answer(&scene, 200);
    act(&scene, webhook, "disable").await;
    act(&scene, webhook, "enable").await;
    for object in [1, 2] {
        age(&scene, object).await;
    }
    scene.settled().await;
    let got = scene.receiver.received();
    // What happened while it was disabled (age 3 of the first, 2 of the second) never comes.
    assert_eq!(ages(&got, "/hook", 1), [1, 2, 4]);
    assert_eq!(ages(&got, "/hook", 2), [1, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_webhook_goes_on_collecting_and_resumes_in_order() {
    let scene = scene().await;
    let webhook = scene.register(UPDATED, json!({})).await;
    age(&scene, 1).await;
    scene
        .until(
            &format!("SELECT count(*) FROM openregister_webhooks.delivery_log WHERE webhook = {webhook}"),
            1,
        )
        .await;
    assert_eq!(act(&scene, webhook, "pause").await["state"], "paused");
    for object in [1, 2, 1, 2, 1] {
        age(&scene, object).await;
    }
    scene
        .until(
            &format!("SELECT count(*) FROM openregister_webhooks.delivery WHERE webhook = {webhook}"),
            5,
        )
        .await;
    assert_eq!(ages(&scene.receiver.received(), "/hook", 1), [1]);
    let shown = scene
        .json(&["webhook", "statistics", &webhook.to_string(), "--json"])
        .await;
    assert_eq!(shown[0]["pending"], 5);
    assert_eq!(act(&scene, webhook, "resume").await["state"], "enabled");
    scene.settled().await;
    let got = scene.receiver.received();
    assert_eq!(ages(&got, "/hook", 1), [1, 2, 3, 4]);
    assert_eq!(ages(&got, "/hook", 2), [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_applies_to_what_waits_and_it_is_tried_at_once() {
    let scene = scene().await;
    answer(&scene, 503);
    let first = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let webhook = scene
        .register(
            UPDATED,
            json!({"retry": {"schedule": [LATER, LATER]}, "secret": first, "headers": {"X-Which": "old"}}),
        )
        .await;
    for object in [1, 2, 1] {
        age(&scene, object).await;
    }
    tried(&scene, webhook, 2).await;
    let before: Vec<String> = scene
        .receiver
        .received()
        .iter()
        .filter(|request| request.path == "/hook")
        .map(|request| request.header("webhook-id").to_owned())
        .collect();
    let second = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let fields = json!({"httpMethod": "PUT", "uri": scene.receiver.url("/new"), "event": UPDATED, "secret": second,
        "headers": {"X-Which": "new"}, "format": "cloudevents"});
    let reply = scene
        .sidecar
        .api("POST", &format!("{LISTENERS}/{webhook}?format=json"), fields)
        .await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    scene.settled().await;
    let got = scene.receiver.received();
    let new: Vec<&Received> = got.iter().filter(|request| request.path == "/new").collect();
    assert_eq!(new.len(), 3);
    for request in &new {
        assert_eq!(
            (request.method.as_str(), request.header("x-which")),
            ("PUT", "new")
        );
        assert!(
            request
                .header("content-type")
                .starts_with("application/cloudevents+json")
        );
        assert_eq!(request.json()["specversion"], "1.0");
        let verifies = |secret: &str| {
            standardwebhooks::Webhook::new(secret)
                .unwrap()
                .verify(&request.body, &request.headers)
                .is_ok()
        };
        assert!(verifies(second) && !verifies(first));
    }
    let ids: Vec<&str> = new.iter().map(|request| request.header("webhook-id")).collect();
    assert!(
        before.iter().all(|id| ids.contains(&id.as_str())),
        "{before:?} {ids:?}"
    );
    // Nothing more went to the old receiver.
    assert_eq!(
        got.iter().filter(|request| request.path == "/hook").count(),
        before.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_deleted_webhook_is_cancelled_and_a_request_in_flight_ends() {
    let scene = scene().await;
    // As long as it takes the deletion to be seen.
    scene.receiver.decide(|request| match request.path.as_str() {
        "/hook" => Answer::After(Duration::from_secs(3), Box::new(Answer::Status(200))),
        _ => Answer::Status(200),
    });
    let webhook = scene.register(UPDATED, json!({})).await;
    for _ in 0..3 {
        age(&scene, 1).await;
    }
    let hooked = |all: &[Received]| all.iter().any(|request| request.path == "/hook");
    scene.receiver.wait_until(hooked, PATIENCE).await.unwrap();
    let reply = scene
        .sidecar
        .api("DELETE", &format!("{LISTENERS}/{webhook}?format=json"), json!({}))
        .await;
    assert_eq!(reply.json()["ocs"]["data"], true, "{}", reply.body);
    scene
        .until(
            &format!("SELECT count(*) FROM openregister_webhooks.delivery WHERE webhook = {webhook}"),
            0,
        )
        .await;
    let listed = scene
        .json(&["delivery", "list", "--webhook", &webhook.to_string(), "--json"])
        .await;
    let states: Vec<(&Value, &Value)> = listed["deliveries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (&entry["state"], &entry["cause"]))
        .collect();
    let cancelled = (&json!("cancelled"), &json!("the webhook was deleted"));
    assert_eq!(states.len(), 3, "{listed}");
    assert_eq!(states[..2], [cancelled, cancelled], "{listed}");
    let id = listed["deliveries"][0]["id"].to_string();
    let (code, out, _) = scene.sidecar.cli(&["delivery", "show", &id]).await;
    assert!(
        code == 0 && out.contains("cancelled") && out.contains("the webhook was deleted"),
        "{out}"
    );
    // The webhook is gone, so nothing can be retried.
    let (code, _, err) = scene.sidecar.cli(&["delivery", "retry", &id]).await;
    assert!(code == 1 && err.contains("does not exist"), "{code}: {err}");
    let retry = scene
        .sidecar
        .api("POST", &format!("{API}/deliveries/{id}/retry"), json!({}))
        .await;
    assert_eq!(retry.status, 409, "{}", retry.body);
    // A witness that everything captured since was worked on.
    age(&scene, 2).await;
    scene.settled().await;
    assert_eq!(
        scene
            .receiver
            .received()
            .iter()
            .filter(|r| r.path == "/hook")
            .count(),
        1
    );
}
