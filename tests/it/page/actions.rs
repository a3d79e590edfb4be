//! Every action of the page does what it says, and the audit table tells who did it and from where.

use orw_testkit::Generation;
use serde_json::json;

use super::visitor::{Visitor, at_the_form};
use crate::support::postgres::Db;
use crate::support::receiver::Answer;
use crate::support::scene::{Scene, uuid};
use crate::support::sidecar::ADMIN;

/// The first number that follows this text.
fn id_in(text: &str, before: &str) -> i64 {
    let mut numbers = text.split(before).skip(1).filter_map(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    });
    numbers
        .next()
        .unwrap_or_else(|| panic!("no number follows {before} in {text}"))
}

fn secret_in(text: &str) -> String {
    let rest = text
        .split("<code id=\"secret\">")
        .nth(1)
        .expect("a secret is shown");
    rest.split('<').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_lives_its_whole_life_on_the_page() {
    let (scene, mut visitor) = at_the_form().await;
    let uri = scene.receiver.url("/hook");
    let new = [
        ("method", "POST"),
        ("uri", uri.as_str()),
        ("event", "ObjectCreatedEvent"),
        ("format", "documented"),
        ("mode", "full"),
        ("ordering", "object"),
        ("headers", "X-Colour: blue"),
        ("auth_name", "Authorization"),
        ("auth_value", "Bearer hidden-credential"),
        ("filter", ""),
    ];
    // What cannot be saved is said before, and nothing of the form is lost.
    let bad = visitor
        .post(
            "/webhooks/new",
            &[
                &new[..1],
                &[("uri", "http://10.0.0.1/x"), ("event", "ObjectCreatedEvent")],
            ]
            .concat(),
        )
        .await;
    assert!(
        bad.status == 400 && bad.has("uri: ") && bad.has("value=\"http://10.0.0.1/x\""),
        "{}",
        bad.text
    );
    let checked = visitor
        .post(
            "/webhooks/check",
            &[
                &new[..],
                &[
                    ("add", "1"),
                    ("path", "event.object.data.age"),
                    ("operator", "$gte"),
                    ("value", "0"),
                ],
            ]
            .concat(),
        )
        .await;
    assert!(
        checked.status == 200
            && checked.has("$gte")
            && checked.has("This can be saved")
            && checked.has("Of an example"),
        "{}",
        checked.text
    );
    let made = visitor.post("/webhooks/new", &new).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let secret = secret_in(&made.text);
    assert!(secret.starts_with("whsec_"));
    let id = id_in(&made.text, "/webhooks/").to_string();
    let one = format!("/webhooks/{id}");
    let shown = visitor.get(&one).await;
    assert!(shown.has("X-Colour: blue") && !shown.has(&secret) && !shown.has("hidden-credential"));

    scene.objects(1, 3).await;
    let received = scene.received(3).await;
    assert_eq!(received[0].headers["authorization"], "Bearer hidden-credential");
    // The filter is tried on what is stored now, and the body of the last of it is shown.
    let name = "{\"event.object.data.age\": {\"$lt\": 0}}";
    for (filter, matched) in [("", 3), (name, 0)] {
        let tried = visitor
            .post(
                "/webhooks/check",
                &[&new[..new.len() - 1], &[("filter", filter)]].concat(),
            )
            .await;
        assert!(
            tried.has(&format!(
                "<strong>{matched}</strong> of the last <strong>3</strong>"
            )) && tried.has("Of the last such event")
                && tried.has("cloudevents"),
            "{}",
            tried.text
        );
    }
    // An edit keeps what it does not name: headers and credentials.
    visitor.get(&format!("{one}/edit")).await;
    let edit = [
        ("method", "PUT"),
        ("uri", uri.as_str()),
        ("event", "Object*"),
        ("format", "nextcloud"),
        ("mode", "full"),
        ("ordering", "object"),
        ("headers", "X-Colour: blue"),
        ("filter", r#"{"event.object.data.age": {"$gte": 0}}"#),
        ("timeout", "7"),
    ];
    let saved = visitor.post(&format!("{one}/edit"), &edit).await;
    assert!(
        saved.status == 200 && saved.has("The webhook is saved"),
        "{}",
        saved.text
    );
    scene.objects(4, 4).await;
    let last = scene.received(4).await.pop().unwrap();
    assert_eq!(
        (
            last.method.as_str(),
            &last.headers["authorization"],
            &last.headers["x-colour"]
        ),
        (
            "PUT",
            &"Bearer hidden-credential".parse().unwrap(),
            &"blue".parse().unwrap()
        )
    );

    let tested = visitor.post(&format!("{one}/test"), &[]).await;
    assert!(tested.has("The test arrived"), "{}", tested.text);
    let rotated = visitor.post(&format!("{one}/secret"), &[("overlap", "1")]).await;
    assert_ne!(secret_in(&rotated.text), secret);
    assert!(
        shown.has("hreflang") && !rotated.has("hreflang"),
        "a link on it leads to no view, and the secret would be gone"
    );
    assert!(!visitor.get(&one).await.has("id=\"secret\""));
    for (action, told) in [
        ("pause", "paused"),
        ("resume", "goes on"),
        ("disable", "is disabled"),
        ("enable", "is enabled"),
    ] {
        let done = visitor
            .post(&format!("{one}/{action}"), &[("reason", "for a test")])
            .await;
        assert!(done.status == 200 && done.has(told), "{action}: {}", done.text);
    }
    let replay = visitor.post(&format!("{one}/replay"), &[("since", "1h")]).await;
    assert!(replay.has("The job has started"), "{}", replay.text);
    scene.settled().await;
    let backfill = visitor.post(&format!("{one}/backfill"), &[]).await;
    assert!(backfill.has("The job has started"), "{}", backfill.text);
    let job = id_in(&backfill.text, "<h1>backfill ");
    scene.settled().await;
    let part = visitor.get(&format!("/jobs/{job}")).await;
    assert!(part.has(">done<"), "{}", part.text);
    assert_eq!(
        visitor.post(&format!("/jobs/{job}/cancel"), &[]).await.status,
        200
    );
    let refused = visitor
        .post(&format!("{one}/replay"), &[("since", "next week")])
        .await;
    assert!(
        refused.status == 400 && refused.has("value=\"next week\"") && refused.has("since: "),
        "{}",
        refused.text
    );

    assert_eq!(
        visitor
            .post(&format!("{one}/delete"), &[("confirm", "7")])
            .await
            .status,
        400
    );
    let gone = visitor.post(&format!("{one}/delete"), &[("confirm", &id)]).await;
    assert!(gone.has("The webhook is deleted"), "{}", gone.text);
    assert_eq!(visitor.get(&one).await.status, 404);

    let rows = scene
        .client
        .query(
            "SELECT action, who, client FROM openregister_webhooks.audit ORDER BY id",
            &[],
        )
        .await
        .unwrap();
    let told: Vec<(String, String, Option<String>)> = rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    let actions: Vec<&str> = told.iter().map(|(action, _, _)| action.as_str()).collect();
    for wanted in [
        "create",
        "update",
        "rotate-secret",
        "pause",
        "enable",
        "disable",
        "delete",
        "replay",
        "backfill",
    ] {
        assert!(actions.contains(&wanted), "{wanted}: {actions:?}");
    }
    assert!(
        told.iter()
            .all(|(_, who, client)| who == ADMIN.0 && client.as_deref() == Some("127.0.0.1")),
        "{told:?}"
    );
    let audit = visitor.get("/audit").await;
    assert!(audit.has("rotate-secret") && audit.has("127.0.0.1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_found_looked_at_and_retried() {
    let scene = Scene::on(Db::openregister(Generation::V0_2_13).await)
        .fast()
        .running()
        .await;
    scene.receiver.always(Answer::Status(500));
    let bad = scene
        .register(
            r"OCA\OpenRegister\Event\ObjectCreatedEvent",
            json!({"uri": scene.receiver.url("/bad"), "retry": {"maxAttempts": 1}}),
        )
        .await;
    scene.objects(1, 2).await;
    scene
        .until(
            "SELECT count(*) FROM openregister_webhooks.delivery_log WHERE state = 'given_up'",
            2,
        )
        .await;
    let mut visitor = Visitor::logged_in(scene.sidecar.listen, ADMIN.0, ADMIN.1).await;
    let found = visitor
        .get(&format!(
            "/deliveries?webhook={bad}&state=given_up&object={}&since=1h",
            uuid(2)
        ))
        .await;
    let id = id_in(&found.text, "/deliveries/");
    assert_eq!(found.text.matches("<tr>").count(), 2, "the head and one row");
    let wrong = visitor.get("/deliveries?since=never").await;
    assert!(wrong.status == 400 && wrong.has("since: "), "{}", wrong.text);
    let one = visitor.get(&format!("/deliveries/{id}")).await;
    assert!(
        one.has("500") && one.has(&uuid(2)) && one.has("evt_") && one.has("/retry\""),
        "{}",
        one.text
    );
    assert!(visitor.get("/webhooks?state=failing").await.has(&bad.to_string()));
    assert!(visitor.get("/").await.has("Webhooks that fail or are off"));
    assert!(
        one.has(&format!("POST {}", scene.receiver.url("/bad"))),
        "the request is shown"
    );
    let counted = visitor
        .post(
            "/deliveries/retry",
            &[
                ("webhook", &bad.to_string()),
                ("cause", "status"),
                ("status", "5xx"),
            ],
        )
        .await;
    assert!(
        counted.has("2 deliveries can be sent again") && counted.has("name=\"status\" value=\"5xx\""),
        "{}",
        counted.text
    );
    scene.receiver.always(Answer::Status(200));
    let done = visitor.post(&format!("/deliveries/{id}/retry"), &[]).await;
    assert!(done.has("It is in the queue again"), "{}", done.text);
    scene.delivered().await;
    let again = visitor.post(&format!("/deliveries/{id}/retry"), &[]).await;
    assert!(
        again.status == 409 && again.has("nothing to retry"),
        "{}",
        again.text
    );
    let all = visitor
        .post(
            "/deliveries/retry",
            &[("webhook", &bad.to_string()), ("start", "1")],
        )
        .await;
    assert!(all.has("The job has started"), "{}", all.text);
    scene
        .until(
            "SELECT count(*) FROM openregister_webhooks.job WHERE state = 'done' AND kind = 'retry'",
            1,
        )
        .await;
    scene.delivered().await;
    let none = visitor.post("/deliveries/retry", &[("start", "1")]).await;
    assert!(
        none.status == 409 && none.has("nothing to retry"),
        "{}",
        none.text
    );
    let rest = visitor.post(&format!("/webhooks/{bad}/retry"), &[]).await;
    assert_eq!(rest.status, 200);
    assert_eq!(scene.receiver.received().len(), 4);
}
