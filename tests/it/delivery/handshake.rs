//! The webhook handshake of CloudEvents, against receivers that allow, refuse, throttle and keep silent.

use std::time::Duration;

use orw_testkit::Generation;
use orw_testkit::receiver::Received;
use serde_json::{Value, json};

use crate::support::postgres::Db;
use crate::support::receiver::Answer;
use crate::support::rows;
use crate::support::scene::{API, Scene};
use crate::support::wait::PATIENCE;

const CREATED: &str = r"OCA\OpenRegister\Event\SourceCreatedEvent";
const LISTENERS: &str = "/ocs/v2.php/apps/webhook_listeners/api/v1/webhooks";
const ORIGIN: &str = "events.gemeente.example";

fn allows(rate: &str) -> Answer {
    Answer::Full {
        status: 200,
        headers: vec![
            ("WebHook-Allowed-Origin".to_owned(), ORIGIN.to_owned()),
            ("WebHook-Allowed-Rate".to_owned(), rate.to_owned()),
        ],
        body: bytes::Bytes::new(),
    }
}

fn asked(request: &Received) -> bool {
    request.method == "OPTIONS"
}

/// Registers a webhook with a handshake; the status, and the data or the message.
async fn register(scene: &Scene, more: Value) -> (u16, Value) {
    let mut fields = json!({"httpMethod": "POST", "uri": scene.receiver.url("/hook"), "event": CREATED,
        "handshake": {"origin": ORIGIN, "ratePerMinute": 6000}, "timeoutSeconds": 2});
    for (name, value) in more.as_object().unwrap() {
        fields[name] = value.clone();
    }
    let reply = scene.sidecar.api("POST", LISTENERS, fields).await;
    let body: Value = serde_json::from_str(&reply.body).unwrap();
    let message = body["ocs"]["meta"]["message"].clone();
    let data = body["ocs"]["data"].clone();
    (reply.status, if reply.status == 200 { data } else { message })
}

async fn scene() -> Scene {
    Scene::on(Db::openregister(Generation::V0_2_13).await)
        .running()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_is_asked_before_a_webhook_is_saved_and_its_rate_holds() {
    let scene = scene().await;
    scene.receiver.decide(|request| match request.path.as_str() {
        _ if !asked(request) => Answer::Status(200),
        "/hook" => allows("60"),
        "/plain" => Answer::Status(204),
        "/other" => Answer::with_header(200, "WebHook-Allowed-Origin", "someone.else.example"),
        "/silent" => Answer::Hang,
        _ => Answer::Status(405),
    });
    for (path, reason) in [
        ("/plain", "does not allow requests from events.gemeente.example"),
        ("/other", "from another origin only"),
        ("/405", "answered 405 without WebHook-Allowed-Origin"),
        ("/silent", "could not be asked"),
    ] {
        let (status, message) = register(&scene, json!({"uri": scene.receiver.url(path)})).await;
        let message = message.as_str().unwrap();
        assert!(
            status == 400 && message.contains(reason),
            "{path}: {status} {message}"
        );
    }
    assert_eq!(
        scene
            .count("SELECT count(*) FROM openregister_webhooks.webhook")
            .await,
        0
    );
    let auth = json!({"authMethod": "header", "authData": {"Authorization": "Bearer abc"}});
    let (status, made) = register(&scene, auth).await;
    assert_eq!(
        (status, &made["handshake"]["allowedRate"]),
        (200, &json!(60)),
        "{made}"
    );
    let before = scene.receiver.count();
    let question = scene.receiver.received().pop().unwrap();
    assert_eq!(question.header("webhook-request-origin"), ORIGIN);
    assert_eq!(question.header("webhook-request-rate"), "6000");
    // Consent is asked for without the credentials.
    assert_eq!((question.header("authorization"), question.body.len()), ("", 0));
    for _ in 0..4 {
        rows::insert(&scene.client, "oc_openregister_sources").await;
    }
    let got = scene.receiver.wait_for(before + 4, PATIENCE).await.unwrap();
    let sent = &got[before..];
    for request in sent {
        assert_eq!(request.header("webhook-request-origin"), ORIGIN);
        assert_eq!(request.header("authorization"), "Bearer abc");
    }
    // One a second: without the bound the four would come at once.
    assert!(sent[3].instant - sent[0].instant > Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_is_renewed_and_a_withdrawn_permission_pauses_the_webhook() {
    let scene = scene().await;
    scene.receiver.always(allows("*"));
    let (_, made) = register(&scene, json!({})).await;
    assert_eq!(made["handshake"]["allowedRate"], Value::Null);
    let id = made["id"].as_i64().unwrap();
    let age = async || {
        scene
            .db
            .client()
            .await
            .execute(
                "UPDATE openregister_webhooks.webhook SET handshake = replace(handshake, extract(year FROM now())::text || '-', '2001-')",
                &[],
            )
            .await
            .unwrap();
        // The running process reads it again when the registration changes.
        let (code, _, errors) = scene.sidecar.cli(&["webhook", "resume", &id.to_string()]).await;
        assert_eq!(code, 0, "{errors}");
    };
    age().await;
    scene.receiver.wait_for(2, PATIENCE).await.unwrap();
    // A renewal is no change of the registration.
    let renewed = "SELECT count(*) FROM openregister_webhooks.webhook WHERE handshake NOT LIKE '%\"2001-%'";
    scene.until(renewed, 1).await;
    let changed = "SELECT count(*) FROM openregister_webhooks.audit WHERE action = 'handshake'";
    assert_eq!(scene.count(changed).await, 0);
    // It does not answer: what it allowed still counts.
    scene.receiver.always(Answer::Cut);
    age().await;
    scene.receiver.wait_for(3, PATIENCE).await.unwrap();
    let enabled = "SELECT count(*) FROM openregister_webhooks.webhook WHERE status = 'enabled'";
    assert_eq!(scene.count(enabled).await, 1);
    let path = format!("{LISTENERS}/{id}");
    // It is out of order: that is no answer either.
    scene.receiver.always(Answer::Status(503));
    let elsewhere = json!({"httpMethod": "POST", "uri": scene.receiver.url("/elsewhere"), "event": CREATED});
    let refused = scene.sidecar.api("POST", &path, elsewhere).await;
    assert_eq!(refused.status, 400, "another uri is asked for itself");
    age().await;
    scene.receiver.wait_for(5, PATIENCE).await.unwrap();
    assert_eq!(scene.count(enabled).await, 1);
    // It refuses: that counts once it has done so for an hour.
    scene.receiver.always(Answer::Status(405));
    age().await;
    let refused =
        "SELECT count(*) FROM openregister_webhooks.webhook WHERE handshake LIKE '%refusedSince\":\"2%'";
    scene.until(refused, 1).await;
    assert_eq!(scene.count(enabled).await, 1);
    age().await;
    let paused = "SELECT count(*) FROM openregister_webhooks.webhook WHERE status = 'paused'";
    scene.until(paused, 1).await;
    let shown = scene
        .sidecar
        .api("GET", &format!("{API}/webhooks/{id}"), json!({}))
        .await;
    let shown: Value = serde_json::from_str(&shown.body).unwrap();
    let reason = shown["ocs"]["data"]["status"]["reason"].as_str().unwrap();
    assert!(reason.contains("does not allow requests"), "{reason}");
    // Events go on being collected, and it is asked before anything is sent again.
    rows::insert(&scene.client, "oc_openregister_sources").await;
    scene
        .until("SELECT count(*) FROM openregister_webhooks.delivery", 1)
        .await;
    let resume = ["webhook", "resume", &id.to_string()];
    let (code, _, errors) = scene.sidecar.cli(&resume).await;
    assert!(
        code == 1 && errors.contains("does not allow requests"),
        "{errors}"
    );
    assert_eq!(scene.count(paused).await, 1);
    let before = scene.receiver.count();
    scene.receiver.always(allows("*"));
    let (code, _, errors) = scene.sidecar.cli(&resume).await;
    assert_eq!(code, 0, "{errors}");
    let got = scene.receiver.wait_for(before + 2, PATIENCE).await.unwrap();
    assert!(asked(&got[before]) && !asked(&got[before + 1]));
}
