//! Two APIs that look like one: which side a request goes to, and answers that combine both.

use serde_json::{Value, json};

use super::{LISTENERS, OURS, OWN, THEIRS};
use crate::support::api::{Answer, Service};
use crate::support::nextcloud::Nextcloud;

fn registration(event: &str, uri: &str) -> Value {
    json!({"httpMethod": "POST", "uri": uri, "event": event})
}

fn message(answer: &Answer) -> String {
    answer.json()["ocs"]["meta"]["message"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn events_of_other_apps_go_to_nextcloud_and_lists_are_one() {
    let nextcloud = Nextcloud::start().await;
    let service = Service::before(&nextcloud).await;
    let make = async |event: &str, uri: &str| {
        let body = registration(event, uri);
        service.admin("POST", LISTENERS).json(&body).send().await.data()
    };
    let ours = make(OURS, "https://example.com/a").await;
    let theirs = make(THEIRS, "https://example.com/a").await;
    make(THEIRS, "https://example.com/b").await;
    let ids = |data: &Value| -> Vec<i64> {
        let list = data.as_array().unwrap();
        list.iter()
            .map(|webhook| webhook["id"].as_i64().unwrap())
            .collect()
    };
    assert_eq!(
        (ours["id"].as_i64(), theirs["id"].as_i64()),
        (Some(1_000_000_000), Some(1))
    );
    assert_eq!(nextcloud.webhooks().len(), 2);
    assert!(
        nextcloud
            .webhooks()
            .iter()
            .all(|webhook| webhook["event"] == THEIRS)
    );
    nextcloud.take_seen();
    let all = service.admin("GET", LISTENERS).send().await;
    assert_eq!(
        (ids(&all.data()), message(&all)),
        (vec![1, 2, 1_000_000_000], "OK".to_owned())
    );
    assert_eq!(
        nextcloud.take_seen().len(),
        1,
        "the list is the question who calls"
    );
    let some = service
        .admin("GET", &format!("{LISTENERS}?uri=https%3A%2F%2Fexample.com%2Fa"))
        .send()
        .await;
    assert_eq!(ids(&some.data()), [1, 1_000_000_000]);
    // In XML, and below v1, as Nextcloud writes it.
    let xml = service
        .request("GET", &LISTENERS.replace("v2", "v1"))
        .basic("admin", "admin-password")
        .header("OCS-APIRequest", "true")
        .send()
        .await;
    assert!(
        xml.text.contains("<statuscode>100</statuscode>")
            && xml.text.matches("  <element>\n").count() == 3
            && xml.text.contains("   <id>1</id>\n   <appId/>\n"),
        "{}",
        xml.text
    );
    // Forms go there too, and what a real Nextcloud refuses it refuses itself.
    let refused = service
        .admin("POST", LISTENERS)
        .json(&registration(r"OCA\Other\Event", "https://example.com/"))
        .send()
        .await;
    assert_eq!(
        (refused.status, message(&refused)),
        (
            400,
            r"OCA\Other\Event is not an event class compatible with webhooks".to_owned()
        )
    );
    let misspelt = service
        .admin("POST", LISTENERS)
        .json(&registration(
            r"OCA\OpenRegister\Event\Nothing",
            "https://example.com/",
        ))
        .send()
        .await;
    assert_eq!(misspelt.status, 400);
    assert_eq!(service.registry.snapshot().all().len(), 1);
    assert_eq!(
        service
            .admin("GET", &format!("{OWN}/webhooks"))
            .send()
            .await
            .data()
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn ids_say_whose_a_webhook_is() {
    let nextcloud = Nextcloud::start().await;
    let service = Service::before(&nextcloud).await;
    for event in [OURS, THEIRS] {
        let body = registration(event, "https://example.com/a");
        assert_eq!(
            service.admin("POST", LISTENERS).json(&body).send().await.status,
            200
        );
    }
    let (ours, theirs) = (format!("{LISTENERS}/1000000000"), format!("{LISTENERS}/1"));
    assert_eq!(service.admin("GET", &ours).send().await.data()["event"], OURS);
    assert_eq!(service.admin("GET", &theirs).send().await.data()["event"], THEIRS);
    let update = async |path: &str, event: &str| {
        let body = registration(event, "https://example.com/changed");
        service.admin("POST", path).json(&body).send().await
    };
    assert_eq!(
        update(&ours, OURS).await.data()["uri"],
        "https://example.com/changed"
    );
    assert_eq!(
        update(&theirs, THEIRS).await.data()["uri"],
        "https://example.com/changed"
    );
    for (path, event, id) in [(&ours, THEIRS, "1000000000"), (&theirs, OURS, "1")] {
        let answer = update(path, event).await;
        assert_eq!(answer.status, 400);
        let message = message(&answer);
        assert!(
            message.starts_with(&format!("event: webhook {id} "))
                && message.ends_with("register a new webhook for them"),
            "{message}"
        );
    }
    assert_eq!(nextcloud.webhooks()[0]["event"], THEIRS);
    assert_eq!(service.admin("DELETE", &theirs).send().await.data(), json!(true));
    assert_eq!(service.admin("DELETE", &ours).send().await.data(), json!(true));
    assert_eq!(service.admin("DELETE", &theirs).send().await.data(), json!(false));
    assert!(nextcloud.webhooks().is_empty() && service.registry.snapshot().all().is_empty());
    let missing = service.admin("GET", &ours).send().await;
    assert_eq!(
        (missing.status, message(&missing)),
        (404, "Webhook 1000000000 does not exist".to_owned())
    );
}

#[tokio::test]
async fn an_apps_webhooks_are_removed_on_both_sides() {
    let nextcloud = Nextcloud::start().await;
    let service = Service::before(&nextcloud).await;
    let app = |method, path: &str| {
        let asked = service
            .admin(method, path)
            .header("AUTHORIZATION-APP-API", Nextcloud::APP.1);
        asked.header("EX-APP-ID", Nextcloud::APP.0)
    };
    for event in [OURS, OURS, THEIRS] {
        let body = registration(event, "https://example.com/a");
        let made = app("POST", LISTENERS).json(&body).send().await.data();
        assert_eq!(made["appId"], "my app");
    }
    let body = registration(OURS, "https://example.com/a");
    service.admin("POST", LISTENERS).json(&body).send().await;
    let by_app = format!("{LISTENERS}/byappid/my%20app");
    // Where Nextcloud fails, nothing is done here either.
    nextcloud.mood(|mood| mood.broken = Some(500));
    let failed = service.admin("DELETE", &by_app).send().await;
    assert_eq!(failed.status, 502, "{}", failed.text);
    assert_eq!(service.registry.snapshot().all().len(), 3);
    nextcloud.mood(|mood| mood.broken = None);
    assert_eq!(service.admin("DELETE", &by_app).send().await.data(), json!(2));
    assert!(
        nextcloud.webhooks().len() == 1,
        "the stand-in compares ids undecoded"
    );
    assert_eq!(service.registry.snapshot().all().len(), 1);
}
