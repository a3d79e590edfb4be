//! What strangers write is shown as text, in every field that a stranger fills.

use orw_testkit::Generation;
use serde_json::json;

use super::visitor::Visitor;
use crate::support::postgres::Db;
use crate::support::receiver::Answer;
use crate::support::scene::Scene;
use crate::support::sidecar::ADMIN;

/// Markup that closes every quote, a terminal's escape, and a mark that turns letters round.
const HOSTILE: &str =
    "\"'><img src=x onerror=alert(1)><script>alert(2)</script></textarea>\u{1b}[31m\u{202e}olleh";

fn check(path: &str, text: &str) {
    for bad in ["<img src=x", "<script>alert", "\u{1b}", "\u{202e}"] {
        assert!(!text.contains(bad), "{path} shows {bad:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_text_of_a_stranger_is_markup() {
    let scene = Scene::on(Db::openregister(Generation::V0_2_13).await)
        .fast()
        .running()
        .await;
    scene.receiver.always(Answer::Full {
        status: 500,
        headers: vec![("x-evil".to_owned(), "<script>alert(4)</script>".to_owned())],
        body: HOSTILE.into(),
    });
    // Whoever registers fills the address, the filter, the headers, the user; receivers fill answers; OpenRegister's users fill objects.
    let uri = scene
        .receiver
        .url("/evil?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E");
    let id = scene
        .register(
            r"OCA\OpenRegister\Event\ObjectCreatedEvent",
            json!({
                "uri": uri, "retry": {"maxAttempts": 1}, "headers": {"X-Evil": "<script>alert(5)</script>"},
                "eventFilter": {"event.object.data.name": {"$ne": format!("{HOSTILE}!")}},
            }),
        )
        .await;
    scene.client.execute(
        "INSERT INTO oc_openregister_table_1_1 (_uuid, _register, _schema, _created, _updated, name, age) VALUES ($1, '1', '1', now(), now(), $2, 0)",
        &[&"<script>alert(3)</script>\u{202e}", &HOSTILE]).await.unwrap();
    scene
        .until(
            "SELECT count(*) FROM openregister_webhooks.delivery_log WHERE state = 'given_up'",
            1,
        )
        .await;
    let delivery = scene
        .count("SELECT max(id) FROM openregister_webhooks.delivery_log")
        .await;
    let mut visitor = Visitor::logged_in(scene.sidecar.listen, ADMIN.0, ADMIN.1).await;
    visitor.get(&format!("/webhooks/{id}")).await;
    // The person who is tricked into a link or a form fills these.
    let hostile: String = url::form_urlencoded::byte_serialize(HOSTILE.as_bytes()).collect();
    let disabled = visitor
        .post(&format!("/webhooks/{id}/disable"), &[("reason", HOSTILE)])
        .await;
    check("disable", &disabled.text);
    assert!(
        disabled.has("&lt;img src=x onerror=alert(1)&gt;") && disabled.has("\\u{1b}[31m\\u{202e}olleh"),
        "{}",
        disabled.text
    );
    for path in [
        "/".to_owned(),
        "/webhooks".to_owned(),
        format!("/webhooks/{id}"),
        format!("/webhooks/{id}/edit"),
        "/deliveries".to_owned(),
        format!("/deliveries/{delivery}"),
        "/live".to_owned(),
        "/audit".to_owned(),
        format!("/webhooks?q={hostile}"),
        format!("/deliveries?object={hostile}"),
        format!("/deliveries?since={hostile}"),
        format!("/deliveries?class={hostile}"),
        format!("/deliveries?webhook={hostile}"),
        format!("/webhooks/{hostile}"),
        format!("/events/{hostile}"),
        format!("/{hostile}"),
        format!("/live?webhook={hostile}&class={hostile}"),
        format!("/?lang={hostile}&done={hostile}"),
        format!("/webhooks/new?event={hostile}"),
        format!("/audit?webhook={hostile}"),
    ] {
        let shown = visitor.get(&path).await;
        assert!(shown.status < 500, "{path}: {}", shown.status);
        check(&path, &shown.text);
    }
    let one = visitor.get(&format!("/deliveries/{delivery}")).await;
    assert!(
        one.has("&lt;script&gt;alert(2)") && one.has("\\u{202e}"),
        "the answer is shown as text: {}",
        one.text
    );
    for (path, fields) in [
        (
            "/webhooks/check".to_owned(),
            vec![
                ("uri", HOSTILE),
                ("filter", HOSTILE),
                ("headers", HOSTILE),
                ("event", HOSTILE),
                ("user", HOSTILE),
            ],
        ),
        (
            "/webhooks/new".to_owned(),
            vec![
                ("uri", HOSTILE),
                ("filter", "{}"),
                ("event", HOSTILE),
                ("timeout", HOSTILE),
            ],
        ),
        (
            format!("/webhooks/{id}/replay"),
            vec![("since", HOSTILE), ("class", HOSTILE), ("object", HOSTILE)],
        ),
        (
            format!("/webhooks/{id}/backfill"),
            vec![("register", HOSTILE), ("schema", HOSTILE)],
        ),
        (format!("/webhooks/{id}/backfill"), vec![("table", HOSTILE)]),
    ] {
        let shown = visitor.post(&path, &fields).await;
        assert!(shown.status < 500, "{path}: {}", shown.status);
        check(&path, &shown.text);
    }
    let mut nobody = Visitor::new(scene.sidecar.listen);
    nobody.get("/login").await;
    check(
        "login",
        &nobody
            .post("/login", &[("user", HOSTILE), ("password", HOSTILE)])
            .await
            .text,
    );
}
