//! A webhook's credentials are bound to its origin, and sealed anew after an upgrade.

use std::sync::Arc;

use openregister_webhooks::registry::{Auth, Snapshot, WebhookId};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::common::{asked, by, create, open};
use crate::support::api::installed;
use crate::support::postgres::Db;
use crate::support::wait::until;

#[tokio::test]
async fn credentials_do_not_follow_to_another_origin() {
    let db = installed().await;
    let registry = open(&db).await;
    let more = json!({"authMethod": "header", "authData": {"Authorization": "Bearer-hidden"},
        "headers": {"X-Api-Key": "hidden-key", "X-A": "1"}});
    let id = create(&registry, more.clone()).await.webhook.id;
    let update = async |uri: &str, more: Value| {
        let mut body = more;
        body["uri"] = uri.into();
        registry.update(&by("mallory"), id, asked(body)).await
    };
    let masked = json!({"authMethod": "header", "authData": {"Authorization": "***"}, "headers": {"X-Api-Key": "***"}});
    // Within the origin everything stays.
    let kept = update("https://EXAMPLE.com:443/other?a=1", masked.clone())
        .await
        .unwrap()
        .webhook;
    assert_eq!(kept.headers.as_ref().unwrap()[0].1.expose_secret(), "hidden-key");
    for elsewhere in [
        "https://evil.example/",
        "https://example.com:8443/",
        "http://example.com/webhook",
    ] {
        for (more, field) in [
            (masked.clone(), "headers.X-Api-Key"),
            (json!({}), "headers.X-Api-Key"),
            (
                json!({"headers": {}, "authMethod": "header", "authData": {"Authorization": "***"}}),
                "authData.Authorization",
            ),
        ] {
            let error = update(elsewhere, more).await.unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{field}: uri moves to another origin")),
                "{error}"
            );
        }
    }
    assert_eq!(registry.snapshot().get(id).unwrap().uri, kept.uri);
    // Moved without authentication first, it is not there to be switched on later.
    let moved = update("https://evil.example/", json!({"headers": {}}))
        .await
        .unwrap();
    assert!(!moved.webhook.auth_data_set);
    update(
        "https://evil.example/",
        json!({"authMethod": "header", "authData": {"Authorization": "***"}}),
    )
    .await
    .unwrap();
    let webhook = Arc::clone(registry.snapshot().get(id).unwrap());
    let Auth::Header(sent) = &webhook.auth else {
        panic!("{webhook:?}")
    };
    assert_eq!(sent[0].1.expose_secret(), "***");
    // A request that contains the credentials may move them.
    update("https://example.org/", more).await.unwrap();
}

/// What somebody can do who may write to the tables but does not have the master key.
async fn move_in_the_table(db: &Db, id: WebhookId, uri: &str) {
    let client = db.client().await;
    client
        .execute(
            "UPDATE openregister_webhooks.webhook SET uri = $2 WHERE id = $1",
            &[&id.0, &uri],
        )
        .await
        .unwrap();
    client
        .batch_execute("UPDATE openregister_webhooks.registry SET revision = revision + 1")
        .await
        .unwrap();
}

fn with_credentials() -> Value {
    json!({"authMethod": "header", "authData": {"Authorization": "Bearer-hidden"}, "headers": {"X-Api-Key": "hidden-key"}})
}

fn authorization(snapshot: &Snapshot, id: WebhookId) -> String {
    match &snapshot.get(id).unwrap().auth {
        Auth::Header(sent) => sent[0].1.expose_secret().to_owned(),
        Auth::None | Auth::Jwt(_) => panic!("no headers"),
    }
}

#[tokio::test]
async fn stored_credentials_do_not_follow_a_uri_that_is_changed_in_the_table() {
    let db = installed().await;
    let registry = open(&db).await;
    for (elsewhere, more) in [
        ("https://evil.example/webhook", with_credentials()),
        ("https://example.com:8443/webhook", with_credentials()),
        ("http://example.com/webhook", json!({})),
    ] {
        let id = create(&registry, more).await.webhook.id;
        move_in_the_table(&db, id, elsewhere).await;
        // A process that knows the webhook keeps it as it was.
        let snapshot = registry.refresh().await.unwrap();
        assert_eq!(snapshot.get(id).unwrap().uri, "https://example.com/webhook");
        assert!(
            snapshot.unreadable()[0]
                .1
                .contains("its uri was changed in the table"),
            "{:?}",
            snapshot.unreadable()
        );
        // One that starts later sends nothing for it.
        assert!(open(&db).await.snapshot().get(id).is_none());
        assert!(registry.delete(&by("admin"), id).await.unwrap());
    }
    // Within the origin everything stays, in the table as in the API.
    let id = create(&registry, with_credentials()).await.webhook.id;
    move_in_the_table(&db, id, "https://EXAMPLE.com:443/another").await;
    assert_eq!(authorization(&open(&db).await.snapshot(), id), "Bearer-hidden");
    let left_out = json!({"uri": "https://example.com/third"});
    registry.update(&by("admin"), id, asked(left_out)).await.unwrap();
    assert!(open(&db).await.snapshot().get(id).unwrap().auth_data_set);
    let masked = json!({"uri": "https://example.com/fourth", "authMethod": "header", "authData": {"Authorization": "***"}});
    registry.update(&by("admin"), id, asked(masked)).await.unwrap();
    let fresh = open(&db).await.snapshot();
    assert_eq!(authorization(&fresh, id), "Bearer-hidden");
    assert_eq!(fresh.get(id).unwrap().uri, "https://example.com/fourth");
}

/// The first bytes of what is stored of secrets: the form.
async fn forms(db: &Db) -> Vec<i32> {
    let rows = db
        .client()
        .await
        .query(
            "SELECT DISTINCT get_byte(c, 0) FROM openregister_webhooks.webhook w, \
             unnest(ARRAY[w.headers, w.auth_data, w.secrets]) c WHERE c IS NOT NULL",
            &[],
        )
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn an_upgrade_seals_anew_once_no_older_process_lives() {
    let db = installed().await;
    let client = db.client().await;
    // A process of an older version: it does not say what it reads.
    client
        .batch_execute(
            "INSERT INTO openregister_webhooks.worker (id, name, alive_until, backend_pid, backend_start) \
             VALUES (gen_random_uuid(), 'older', now() + interval '1 hour', 1, now())",
        )
        .await
        .unwrap();
    let registry = open(&db).await;
    let id = create(&registry, with_credentials()).await.webhook.id;
    // It goes on reading everything, also what is registered through a newer one.
    assert_eq!(forms(&db).await, [1]);
    let kept: Vec<u8> = client
        .query_one(
            "SELECT auth_data FROM openregister_webhooks.webhook WHERE id = $1",
            &[&id.0],
        )
        .await
        .unwrap()
        .get(0);
    let stop = CancellationToken::new();
    let watching = tokio::spawn({
        let (registry, stop) = (Arc::clone(&registry), stop.clone());
        async move { registry.watch(stop).await }
    });
    client
        .batch_execute("DELETE FROM openregister_webhooks.worker")
        .await
        .unwrap();
    until("it is sealed anew", async || forms(&db).await == [2]).await;
    for snapshot in [registry.refresh().await.unwrap(), open(&db).await.snapshot()] {
        assert_eq!(authorization(&snapshot, id), "Bearer-hidden");
        assert!(snapshot.unreadable().is_empty());
    }
    stop.cancel();
    watching.await.unwrap();

    // From then on the old form is neither stored nor read, whoever kept a text of it.
    let put = "UPDATE openregister_webhooks.webhook SET auth_data = $2, uri = 'https://evil.example/' WHERE id = $1";
    let refused = client.execute(put, &[&id.0, &kept]).await.unwrap_err();
    assert!(
        refused
            .as_db_error()
            .unwrap()
            .message()
            .contains("a newer version"),
        "{refused:?}"
    );
    client
        .batch_execute("ALTER TABLE openregister_webhooks.webhook DISABLE TRIGGER check_sealed")
        .await
        .unwrap();
    client.execute(put, &[&id.0, &kept]).await.unwrap();
    assert!(open(&db).await.snapshot().get(id).is_none());
}
