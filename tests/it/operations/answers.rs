//! What the log keeps of a receiver's answers: headers and the beginning of the body, and no secret, not even one that the
//! receiver echoes.

use orw_testkit::Generation;
use serde_json::json;

use crate::support::receiver::Answer;
use crate::support::scene::{API, Scene};

const TOKEN: &str = "tok/en-5f2e9c71";

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_kept_with_their_headers_and_without_secrets() {
    let mut scene = Scene::new(Generation::V0_2_13).await;
    scene.sidecar.start().await;
    scene.receiver.decide(|request| {
        let echo =
            json!({"authorization": request.header("authorization"), "tenant": request.header("x-tenant")});
        Answer::Full {
            status: 401,
            headers: [
                ("www-authenticate", "Bearer error=\"invalid_token\""),
                ("x-request-id", "r-17"),
                ("set-cookie", "sid=4711"),
                ("x-echo", request.header("authorization")),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
            body: echo.to_string().replace('/', "\\/").into(),
        }
    });
    let webhook = scene
        .register(
            r"OCA\OpenRegister\Event\ObjectCreatedEvent",
            json!({
                "retry": {"maxAttempts": 1}, "headers": {"X-Tenant": "tenant-of-mine"},
                "authMethod": "header", "authData": {"Authorization": format!("Bearer {TOKEN}")},
            }),
        )
        .await;
    scene.objects(1, 1).await;
    scene
        .until(
            "SELECT count(*) FROM openregister_webhooks.delivery_log WHERE state = 'given_up'",
            1,
        )
        .await;
    let sent = scene.receiver.received();
    assert_eq!(sent[0].header("authorization"), format!("Bearer {TOKEN}"));

    let id = scene
        .count("SELECT id FROM openregister_webhooks.delivery_log")
        .await;
    let reply = scene
        .sidecar
        .api("GET", &format!("{API}/deliveries/{id}"), json!({}))
        .await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let attempt = &reply.json()["ocs"]["data"]["attempts"][0];
    let kept = json!({
        "www-authenticate": "Bearer error=\"invalid_token\"", "x-request-id": "r-17", "set-cookie": "***", "x-echo": "***",
    });
    for (name, value) in kept.as_object().unwrap() {
        assert_eq!(&attempt["headers"][name], value, "{name}");
    }
    assert_eq!(
        attempt["response"], r#"{"authorization":"***","tenant":"***"}"#,
        "{attempt}"
    );
    let (code, shown, errors) = scene.sidecar.cli(&["delivery", "show", &id.to_string()]).await;
    assert_eq!(code, 0, "{errors}");
    assert!(shown.contains("x-request-id: r-17"), "{shown}");
    let (code, tried, _) = scene
        .sidecar
        .cli(&["webhook", "test", &webhook.to_string()])
        .await;
    assert_eq!(code, 1);
    assert!(tried.contains("x-request-id: r-17"), "{tried}");
    for told in [&shown, &tried, &reply.body] {
        assert!(
            !told.contains("en-5f2e9c71") && !told.contains("tenant-of-mine"),
            "{told}"
        );
    }
    let anywhere = format!(
        "SELECT count(*) FROM openregister_webhooks.attempt a WHERE a::text LIKE '%{}%' OR a::text LIKE '%4711%'",
        "5f2e9c71"
    );
    assert_eq!(scene.count(&anywhere).await, 0);
}
