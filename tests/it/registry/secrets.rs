//! Secrets at rest are encrypted; keys and secrets can be rotated while processes run.

use std::sync::Arc;
use std::time::Duration;

use openregister_webhooks::registry::{RegistryError, VaultError};
use secrecy::ExposeSecret as _;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::common::{OTHER_KEY, asked, by, class, create, open, try_open};
use crate::support::api::{MASTER_KEY, installed};
use crate::support::wait::until;

#[tokio::test]
async fn no_secret_is_stored_in_clear() {
    let db = installed().await;
    let registry = open(&db).await;
    let secrets = [
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "Bearer-hidden",
        "hidden-key",
    ];
    let more = json!({"secret": secrets[0], "authMethod": "header", "authData": {"Authorization": secrets[1]},
        "headers": {"X-Api-Key": secrets[2]}});
    let id = create(&registry, more.clone()).await.webhook.id;
    registry.update(&by("admin"), id, asked(more)).await.unwrap();
    let client = db.client().await;
    let mut looked_at = 0;
    for table in ["webhook", "audit", "master_key", "registry"] {
        let sql = format!(
            "SELECT t::text, coalesce(encode(t::text::bytea, 'escape'), '') FROM openregister_webhooks.{table} t"
        );
        for row in client.query(&sql, &[]).await.unwrap() {
            let text: String = row.get(0);
            looked_at += 1;
            for secret in secrets {
                let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
                assert!(
                    !text.contains(secret) && !text.contains(&hex),
                    "{table}: {secret}"
                );
            }
        }
    }
    assert!(looked_at >= 5, "{looked_at}");
    // The secrets can be read back.
    let fresh = open(&db).await;
    let webhook = Arc::clone(fresh.snapshot().get(id).unwrap());
    assert_eq!(webhook.secrets[0].expose_secret(), secrets[0]);
    assert_eq!(webhook.headers.as_ref().unwrap()[0].1.expose_secret(), secrets[2]);
    assert!(!format!("{webhook:?}").contains("hidden"));
}

#[tokio::test]
async fn a_missing_or_wrong_key_is_a_clear_error() {
    let db = installed().await;
    assert!(matches!(
        try_open(&db, None).await,
        Err(RegistryError::Vault(VaultError::NoKey))
    ));
    open(&db).await;
    let error = try_open(&db, Some(OTHER_KEY)).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::Vault(VaultError::WrongKey { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("ORW_MASTER_KEY"));
    open(&db).await;
}

#[tokio::test]
async fn the_master_key_is_changed_while_processes_run() {
    let db = installed().await;
    let both = |first: &str, second: &str| format!("{first},{second}");
    let old = open(&db).await;
    let id = create(
        &old,
        json!({"authMethod": "header", "authData": {"Authorization": "hidden"}}),
    )
    .await
    .webhook
    .id;
    let new_first = try_open(&db, Some(&both(OTHER_KEY, MASTER_KEY))).await.unwrap();
    assert!(new_first.snapshot().get(id).is_some());
    // A process that only knows the old key keeps what it knows of a webhook that it cannot read any more.
    new_first
        .update(&by("admin"), id, asked(json!({"uri": "https://example.com/new"})))
        .await
        .unwrap();
    let seen = old.refresh().await.unwrap();
    assert_eq!(seen.get(id).unwrap().uri, "https://example.com/webhook");
    assert_eq!(seen.unreadable().len(), 1);
    assert_eq!(seen.for_class(class("ObjectCreated")).len(), 1);
    // And none may start with it alone now.
    assert!(try_open(&db, Some(MASTER_KEY)).await.is_err());

    assert_eq!(new_first.rotate_key().await.unwrap(), 1);
    let new = try_open(&db, Some(OTHER_KEY)).await.unwrap();
    let webhook = Arc::clone(new.snapshot().get(id).unwrap());
    assert_eq!(webhook.uri, "https://example.com/new");
    assert!(webhook.auth_data_set && !webhook.secrets.is_empty());
    assert!(try_open(&db, Some(MASTER_KEY)).await.is_err());
}

#[tokio::test]
async fn a_rotated_secret_signs_beside_the_new_one_until_its_time_is_over() {
    let db = installed().await;
    let registry = open(&db).await;
    let first = create(&registry, json!({})).await;
    let id = first.webhook.id;
    let rotate = async |overlap| {
        registry
            .rotate_secret(&by("admin"), id, None, Duration::from_secs(overlap))
            .await
            .unwrap()
    };
    let second = rotate(3600).await;
    let shown = second.secret.unwrap();
    assert_eq!(second.webhook.secrets.len(), 2);
    assert_eq!(second.webhook.secrets[0].expose_secret(), shown.expose_secret());
    assert_eq!(
        second.webhook.secrets[1].expose_secret(),
        first.secret.unwrap().expose_secret()
    );
    // A short overlap shortens the old ones' too, and a process that only watches notices the end.
    rotate(1).await;
    let stop = CancellationToken::new();
    let watching = tokio::spawn({
        let (registry, stop) = (Arc::clone(&registry), stop.clone());
        async move { registry.watch(stop).await }
    });
    assert_eq!(registry.snapshot().get(id).unwrap().secrets.len(), 3);
    until("the old ones end", async || {
        registry.snapshot().get(id).unwrap().secrets.len() == 1
    })
    .await;
    stop.cancel();
    watching.await.unwrap();
    for _ in 0..10 {
        rotate(3600).await;
    }
    assert_eq!(registry.snapshot().get(id).unwrap().secrets.len(), 5);
}
