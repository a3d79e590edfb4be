//! Deliveries over the API: lists and their filters, one delivery with its attempts, retries.

use serde_json::{Value, json};

use super::delivered::Delivered;
use crate::support::receiver::Answer;
use crate::support::scene::{PATIENCE, uuid};

pub(super) fn all_of(entries: &[Value], field: &str, wanted: &Value) -> bool {
    entries.iter().all(|entry| entry[field] == *wanted)
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_take_every_filter_and_say_which_value_is_wrong() {
    let this = Delivered::new().await;
    let (good, bad) = (this.good, this.bad);
    let all = this.list("").await;
    assert_eq!(all.len(), 8);
    let mut ids: Vec<i64> = all.iter().map(|entry| entry["id"].as_i64().unwrap()).collect();
    assert!(ids.is_sorted_by(|a, b| a > b), "newest first: {ids:?}");

    let mine = this.list(&format!("webhook={good}")).await;
    assert!(
        mine.len() == 4
            && all_of(&mine, "webhook", &json!(good))
            && all_of(&mine, "state", &json!("succeeded"))
    );
    assert!(
        mine.iter()
            .all(|entry| entry["finishedAt"].is_string() && entry["status"] == 200 && entry["attempts"] == 1)
    );
    let failed = this.list("state=given_up").await;
    assert!(
        failed.len() == 4
            && all_of(&failed, "webhook", &json!(bad))
            && all_of(&failed, "cause", &json!("status"))
    );
    for class in [
        "ObjectUpdatedEvent",
        "OCA%5COpenRegister%5CEvent%5CObjectUpdatedEvent",
    ] {
        let updates = this.list(&format!("class={class}")).await;
        assert!(
            updates.len() == 2 && all_of(&updates, "class", &json!("ObjectUpdatedEvent")),
            "{class}"
        );
        assert!(all_of(&updates, "lane", &json!(format!("object:{}", uuid(1)))));
    }
    for (query, count) in [
        (
            format!("webhook={bad}&state=given_up&class=ObjectCreatedEvent&since=1h"),
            3,
        ),
        (format!("webhook={good}&state=given_up"), 0),
        ("since=2999-01-01".to_owned(), 0),
        ("since=1h".to_owned(), 8),
        ("webhook=7".to_owned(), 0),
        ("state=pending".to_owned(), 0),
        ("limit=500".to_owned(), 8),
    ] {
        assert_eq!(this.list(&query).await.len(), count, "{query}");
    }
    // Page by page the same, each once.
    let (mut paged, mut query) = (Vec::new(), "limit=3".to_owned());
    loop {
        let (_, page) = this.ask("GET", &format!("deliveries?{query}")).await;
        paged.extend(
            page["deliveries"]
                .as_array()
                .unwrap()
                .iter()
                .map(|entry| entry["id"].as_i64().unwrap()),
        );
        match page["cursor"].as_str() {
            Some(cursor) => query = format!("limit=3&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(paged, ids);

    for (field, value) in [
        ("webhook", "abc"),
        ("webhook", "1.5"),
        ("state", "lost"),
        ("state", "SUCCEEDED"),
        ("class", "NoSuchEvent"),
        ("since", "soon"),
        ("limit", "0"),
        ("limit", "501"),
        ("limit", "many"),
        ("cursor", "!"),
    ] {
        let (status, message) = this.ask("GET", &format!("deliveries?{field}={value}")).await;
        let message = message.as_str().unwrap();
        assert!(
            status == 400 && message.starts_with(&format!("{field}: ")),
            "{field}={value}: {status} {message}"
        );
    }
    for list in ["jobs", "audit"] {
        let (status, message) = this.ask("GET", &format!("{list}?webhook=abc")).await;
        assert_eq!(
            (status, message),
            (400, json!("webhook: must be the id of a webhook")),
            "{list}"
        );
    }

    // Pending deliveries are in the same list.
    assert_eq!(this.ask("POST", &format!("webhooks/{good}/pause")).await.0, 200);
    this.touch(2).await;
    this.logged(9).await;
    let waiting = this.list("state=pending").await;
    assert_eq!(waiting.len(), 1);
    assert!(
        waiting[0]["dueAt"].is_string() && waiting[0]["finishedAt"].is_null() && waiting[0]["attempts"] == 0
    );
    ids = this
        .list("")
        .await
        .iter()
        .map(|entry| entry["id"].as_i64().unwrap())
        .collect();
    assert!(ids.len() == 10 && ids.is_sorted_by(|a, b| a > b), "{ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_is_shown_with_its_attempts_and_what_was_given_up_is_tried_again() {
    let this = Delivered::new().await;
    let failed = this.list("state=given_up").await;
    let id = failed[0]["id"].as_i64().unwrap();
    let (status, shown) = this.ask("GET", &format!("deliveries/{id}")).await;
    assert_eq!((status, &shown["delivery"]), (200, &failed[0]));
    let attempts = shown["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 1);
    assert_eq!(
        (
            &attempts[0]["number"],
            &attempts[0]["status"],
            &attempts[0]["cause"]
        ),
        (&json!(1), &json!(507), &json!("status"))
    );
    assert!(
        attempts[0]["response"].as_str().unwrap().starts_with("no room"),
        "{shown}"
    );
    let sent = this.scene.receiver.received();
    let event = shown["delivery"]["eventId"].as_str().unwrap().to_owned();
    let was_sent = |path: &str| {
        sent.iter()
            .any(|request| request.path == path && request.header("webhook-id") == event)
    };
    assert!(was_sent("/bad") && was_sent("/good"));

    for path in [
        "deliveries/999999",
        "deliveries/abc",
        "deliveries/99999999999999999999",
    ] {
        let name = path.rsplit('/').next().unwrap();
        let missing = (404, json!(format!("Delivery {name} does not exist")));
        assert_eq!(this.ask("GET", path).await, missing);
        assert_eq!(this.ask("POST", &format!("{path}/retry")).await, missing);
    }
    assert_eq!(
        this.ask("POST", "webhooks/7/retry").await,
        (404, json!("Webhook 7 does not exist"))
    );

    let arrived = this.list("state=succeeded").await[0]["id"].clone();
    let (status, message) = this.ask("POST", &format!("deliveries/{arrived}/retry")).await;
    assert!(
        status == 409 && message.as_str().unwrap().contains("nothing to retry"),
        "{message}"
    );
    this.scene.receiver.forget();
    this.scene.receiver.always(Answer::Status(200));
    let once = (200, json!({"webhook": this.bad, "retried": 1, "more": false}));
    assert_eq!(this.ask("POST", &format!("deliveries/{id}/retry")).await, once);
    let got = this.scene.receiver.wait_for(1, PATIENCE).await.unwrap();
    assert_eq!(
        (got[0].header("webhook-id"), got[0].header("orw-reason")),
        (event.as_str(), "retry")
    );
    assert_eq!(this.ask("POST", &format!("deliveries/{id}/retry")).await.0, 409);
    // The rest, and only the rest.
    let rest = (200, json!({"webhook": this.bad, "retried": 3, "more": false}));
    let path = format!("webhooks/{}/retry", this.bad);
    assert_eq!(this.ask("POST", &path).await, rest);
    this.scene.settled().await;
    assert_eq!(this.ask("POST", &path).await.1["retried"], 0);
    let mut again: Vec<String> = this
        .scene
        .receiver
        .received()
        .iter()
        .map(|r| r.header("webhook-id").to_owned())
        .collect();
    let mut first: Vec<&str> = failed
        .iter()
        .map(|entry| entry["eventId"].as_str().unwrap())
        .collect();
    again.sort();
    first.sort_unstable();
    assert_eq!(again, first, "each once");

    let (_, audit) = this.ask("GET", &format!("audit?webhook={}", this.bad)).await;
    let retries: Vec<&Value> = audit["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["action"] == "retry")
        .map(|entry| &entry["detail"])
        .collect();
    assert_eq!(
        retries,
        [
            &json!({"delivery": null, "retried": 3}),
            &json!({"delivery": id, "retried": 1})
        ]
    );
}
