//! Notifications for an NRC, CloudEvents of the NL GOV profile, and templates, by the built program.

use orw_testkit::receiver::{Nrc, Received};
use serde_json::{Value, json};

use crate::support::postgres::Db;
use crate::support::rows;
use crate::support::scene::{API, Scene};
use crate::support::wait::{PATIENCE, until_contains};

const CREATED: &str = r"OCA\OpenRegister\Event\SourceCreatedEvent";
const LISTENERS: &str = "/ocs/v2.php/apps/webhook_listeners/api/v1/webhooks";

async fn scene() -> Scene {
    Scene::on(Db::openregister(orw_testkit::Generation::V0_2_13).await)
        .fast()
        .logging()
        .with("ORW_OIN", "00000001823288444000")
        .with("ORW_EVENT_SOURCE", "openregister")
        .running()
        .await
}

/// Changes a webhook; the message if that is refused.
async fn update(scene: &Scene, id: i64, more: Value) -> Option<String> {
    let mut fields = json!({"httpMethod": "POST", "uri": scene.receiver.url("/hook"), "event": CREATED});
    for (name, value) in more.as_object().unwrap() {
        fields[name] = value.clone();
    }
    let path = format!("{LISTENERS}/{id}");
    let reply = scene.sidecar.api("POST", &path, fields).await;
    let body: Value = serde_json::from_str(&reply.body).unwrap();
    (reply.status != 200).then(|| body["ocs"]["meta"]["message"].as_str().unwrap().to_owned())
}

async fn next(scene: &Scene, wanted: impl Fn(&Received) -> bool) -> Received {
    let arrived = scene
        .receiver
        .wait_until(|all| all.iter().any(&wanted), PATIENCE)
        .await
        .unwrap();
    arrived.into_iter().find(|request| wanted(request)).unwrap()
}

fn status(request: &Received) -> u16 {
    match &request.answer {
        orw_testkit::receiver::Answer::Full { status, .. } => *status,
        _ => 0,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_nrc_accepts_a_notification_with_the_right_token_and_kanaal() {
    let scene = scene().await;
    let nrc = Nrc {
        client_id: "openregister".to_owned(),
        secret: "een-goed-geheim".to_owned(),
        kanalen: vec![("objecten".to_owned(), vec!["titel".to_owned(), "type".to_owned()])],
    };
    scene.receiver.decide(move |request| nrc.answer(request));
    let zgw = |kanaal: &str| {
        json!({"kanaal": kanaal, "resourceUrl": "https://cloud.example/api/sources/{uuid}",
        "kenmerken": {"titel": "title"}})
    };
    let auth = |secret: &str| json!({"client_id": "openregister", "secret": secret});
    let id = scene
        .register(
            CREATED,
            json!({"format": "zgw", "zgw": zgw("onbekend"), "authMethod": "jwt", "authData": auth("een-fout-geheim"),
                "retry": {"schedule": [3600], "maxAttempts": 10}}),
        )
        .await;
    rows::insert(&scene.client, "oc_openregister_sources").await;
    // A wrong secret, then an unknown kanaal, then all is right: each change is tried at once.
    next(&scene, |request| status(request) == 403).await;
    let masked = json!({"client_id": "***", "secret": "***"});
    let right = json!({"authMethod": "jwt", "authData": auth("een-goed-geheim")});
    assert_eq!(update(&scene, id, right).await, None);
    next(&scene, |request| status(request) == 400).await;
    let known = json!({"authMethod": "jwt", "authData": masked, "zgw": zgw("objecten")});
    assert_eq!(update(&scene, id, known).await, None);
    let accepted = next(&scene, |request| status(request) == 201).await;
    scene.delivered().await;
    let body = accepted.json();
    let message: Value =
        serde_json::from_str(include_str!("../../fixtures/notificaties-message.json")).unwrap();
    let schema = jsonschema::options()
        .should_validate_formats(true)
        .build(&message)
        .unwrap();
    let faults: Vec<String> = schema.iter_errors(&body).map(|error| error.to_string()).collect();
    assert_eq!(faults, Vec::<String>::new(), "{body}");
    assert_eq!(
        (&body["actie"], &body["resource"]),
        (&json!("create"), &json!("source"))
    );
    assert!(!body["kenmerken"]["titel"].as_str().unwrap().is_empty(), "{body}");
    // What has no actie is refused, and the secret is shown nowhere.
    let locked = json!({"event": r"OCA\OpenRegister\Event\ObjectLockedEvent", "authMethod": "jwt", "authData": auth("x")});
    let refused = update(&scene, id, locked).await.unwrap();
    assert!(refused.contains("actie is create, update"), "{refused}");
    let shown = scene
        .sidecar
        .api("GET", &format!("{API}/webhooks/{id}"), json!({}))
        .await;
    let shown = shown.body;
    assert!(
        shown.contains(r#""authMethod":"jwt""#) && shown.contains(r#""kanaal":"objecten""#),
        "{shown}"
    );
    for place in [shown, scene.log()] {
        assert!(!place.contains("geheim") && !place.contains("eyJ"), "{place}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_fails_is_logged_with_its_place_and_sent_once_it_is_mended() {
    let scene = scene().await;
    let broken = json!({"format": "template", "template": "{\"text\":\n  {{ data.source.title - 1 }}}"});
    let id = scene.register(CREATED, broken.clone()).await;
    // Neither saved nor sent: a template is tried first.
    let trial = json!({"template": "{{ nosuch | }}"});
    let tried = scene
        .sidecar
        .api("POST", &format!("{API}/webhooks/{id}/test"), trial)
        .await;
    assert_eq!(tried.status, 400);
    let trial = json!({"template": "[{{ class }}, {{ id }}]"});
    let tried = scene
        .sidecar
        .api("POST", &format!("{API}/webhooks/{id}/test"), trial)
        .await;
    assert_eq!(tried.status, 200);
    let tested = next(&scene, |request| request.header("orw-reason") == "test").await;
    assert_eq!(tested.json()[0], CREATED);
    rows::insert(&scene.client, "oc_openregister_sources").await;
    let log = until_contains(&scene.path("log"), "cannot be written in the webhook's format").await;
    assert!(log.contains("template: line 2, column "), "{log}");
    let mended = json!({"format": "template", "template": "{\"text\": {{ \"New: \" ~ data.source.title }}}"});
    assert_eq!(update(&scene, id, mended).await, None);
    let arrived = next(&scene, |request| request.header("orw-reason") != "test").await;
    let text = arrived.json()["text"].as_str().unwrap().to_owned();
    assert!(text.starts_with("New: ") && text.len() > 5, "{text}");
    scene.delivered().await;
    assert_eq!(scene.receiver.count(), 2);
    // The command says where a template is wrong, and shows what one makes.
    let file = scene.path("template");
    std::fs::write(&file, broken["template"].as_str().unwrap()).unwrap();
    let check = [
        "filter",
        "check",
        "--template",
        file.to_str().unwrap(),
        "--class",
        "SourceCreatedEvent",
    ];
    let (code, out, _) = scene.sidecar.cli(&check).await;
    assert!(
        code == 1 && out.contains("refused: template: line 2, column "),
        "{out}"
    );
    std::fs::write(&file, "{{ data.source.title }}").unwrap();
    let (code, out, errors) = scene.sidecar.cli(&check).await;
    assert_eq!(code, 0, "{out}{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nl_gov_profile_arrives_in_both_modes() {
    let scene = scene().await;
    scene.register(CREATED, json!({"format": "nlgov"})).await;
    let binary = json!({"format": "nlgov", "nlgov": {"mode": "binary", "type": "nl.bronnen.{kind}.{action}"},
        "uri": scene.receiver.url("/binary"), "authMethod": "header", "authData": {"Authorization": "Bearer abc"}});
    scene.register(CREATED, binary).await;
    rows::insert(&scene.client, "oc_openregister_sources").await;
    let structured = next(&scene, |request| request.path == "/hook").await;
    let event = structured.json();
    let profile: Value = serde_json::from_str(include_str!("../../fixtures/nl-gov-profile.json")).unwrap();
    let schema = jsonschema::options()
        .should_validate_formats(true)
        .build(&profile)
        .unwrap();
    let faults: Vec<String> = schema
        .iter_errors(&event)
        .map(|error| error.to_string())
        .collect();
    assert_eq!(faults, Vec::<String>::new(), "{event}");
    assert_eq!(event["type"], "nl.openregister.source.created");
    assert_eq!(event["id"], structured.header("webhook-id"));
    assert_eq!(
        event["sequence"].as_str().unwrap().trim_start_matches('0'),
        structured.header("orw-sequence")
    );
    let binary = next(&scene, |request| request.path == "/binary").await;
    assert_eq!(binary.json(), event["data"]);
    assert_eq!(binary.header("content-type"), "application/json");
    assert_eq!(binary.header("ce-type"), "nl.bronnen.source.created");
    assert_eq!(binary.header("ce-source"), event["source"]);
    assert_eq!(binary.header("authorization"), "Bearer abc");
}
