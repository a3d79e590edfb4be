//! The field `tokenNeeded`: our webhooks have it where Nextcloud's own have it.

use serde_json::{Value, json};

use super::{LISTENERS, OURS, THEIRS};
use crate::support::api::Service;
use crate::support::nextcloud::Nextcloud;

/// Registers a webhook with these further fields.
async fn register(service: &Service, event: &str, more: Value) -> Value {
    let mut body = json!({"httpMethod": "POST", "uri": "https://example.com/a", "event": event});
    let more = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(more);
    service.admin("POST", LISTENERS).json(&body).send().await.json()["ocs"].clone()
}

fn keys(webhook: &Value) -> usize {
    webhook.as_object().unwrap().len()
}

#[tokio::test]
async fn our_webhooks_have_the_fields_that_nextclouds_have() {
    let nextcloud = Nextcloud::start().await;
    let service = Service::before(&nextcloud).await;
    let list = async || service.admin("GET", LISTENERS).send().await.data();
    let show = async || {
        service
            .admin("GET", &format!("{LISTENERS}/1000000000"))
            .send()
            .await
            .data()
    };
    // Nextcloud has no webhook to show: ours have what every version has, unless the request knows more.
    assert_eq!(keys(&register(&service, OURS, json!({})).await["data"]), 11);
    let knows = register(&service, OURS, json!({"tokenNeeded": []})).await["data"].clone();
    assert_eq!(knows["tokenNeeded"], json!([]));
    assert_eq!(keys(&show().await), 11);
    // Its first webhook decides, as soon as it is there.
    nextcloud.mood(|mood| mood.token_needed = true);
    let theirs = register(&service, THEIRS, json!({"tokenNeeded": {"user_ids": ["admin"]}})).await;
    assert_eq!(theirs["data"]["tokenNeeded"], json!({"user_ids": ["admin"]}));
    let shown = show().await;
    assert_eq!(
        shown.as_object().unwrap().keys().next_back().unwrap(),
        "tokenNeeded"
    );
    assert_eq!((keys(&shown), &shown["tokenNeeded"]), (12, &json!([])));
    assert!(
        list()
            .await
            .as_array()
            .unwrap()
            .iter()
            .all(|webhook| keys(webhook) == 12)
    );
    assert_eq!(keys(&register(&service, OURS, json!({})).await["data"]), 12);
    // For our events no token can be made.
    let refused = register(&service, OURS, json!({"tokenNeeded": {"user_roles": ["owner"]}})).await;
    assert_eq!(refused["meta"]["statuscode"], 400);
    let message = refused["meta"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("tokenNeeded: no tokens can be made here"),
        "{message}"
    );
}

#[tokio::test]
async fn an_upgrade_of_nextcloud_is_noticed_at_its_next_list() {
    let nextcloud = Nextcloud::start().await;
    let service = Service::before(&nextcloud).await;
    register(&service, THEIRS, json!({})).await;
    assert_eq!(keys(&register(&service, OURS, json!({})).await["data"]), 11);
    nextcloud.mood(|mood| mood.token_needed = true);
    nextcloud.upgrade_webhooks();
    let list = service.admin("GET", LISTENERS).send().await.data();
    assert!(
        list.as_array().unwrap().iter().all(|webhook| keys(webhook) == 12),
        "{list}"
    );
}
