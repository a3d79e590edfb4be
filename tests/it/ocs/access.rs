//! Who may do what, which fields are answered, and which registrations are refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use orw_model::EventClass;
use serde_json::{Value, json};

use super::routes::{LISTENERS, OWN, registration};
use crate::support::api::Service;
use crate::support::scene::{READER, Scene};
use crate::support::sidecar::send;

/// Every route of the document, as method and path.
fn routes() -> Vec<(String, String)> {
    let document: Value = serde_json::from_str(include_str!("../../../docs/openapi.json")).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let of = |(path, item): (&String, &Value)| {
        let methods = item
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| *key != "parameters")
            .cloned();
        methods
            .map(|method| (method.to_uppercase(), path.clone()))
            .collect::<Vec<_>>()
    };
    paths.iter().flat_map(of).collect()
}

#[tokio::test]
async fn nobody_who_may_not_reads_or_changes_anything() {
    let service = Service::start().await;
    let made = service
        .admin("POST", LISTENERS)
        .json(&registration())
        .send()
        .await;
    let id = made.data()["id"].as_i64().unwrap();
    let before = service.registry.snapshot().revision();
    let mut tried = 0;
    for (method, path) in routes() {
        let path = path.replace("{id}", &id.to_string()).replace("{appid}", "app");
        if path.ends_with("/cloud/capabilities") {
            continue;
        }
        let ask = || {
            let asked = service.request(&method, &path).header("OCS-APIRequest", "true");
            asked.header("Accept", "application/json").json(&registration())
        };
        let answer = ask().send().await;
        assert_eq!(answer.status, 401, "{method} {path} without login");
        assert_eq!(answer.json()["ocs"]["meta"]["statuscode"], 997);
        let answer = ask().header("Authorization", "Bearer something").send().await;
        assert_eq!(answer.status, 401, "{method} {path} with a token");
        if !path.ends_with("/cloud/user") {
            let answer = ask().basic("bob", "bob-password").send().await;
            let status = if path.contains("v1.php") { 200 } else { 403 };
            assert_eq!(answer.status, status, "{method} {path} as a user");
            assert_eq!(answer.json()["ocs"]["meta"]["statuscode"], 403);
            assert_eq!(answer.data(), json!([]));
        }
        let bare = service.request(&method, &path).basic("admin", "admin-password");
        assert_eq!(
            bare.json(&registration()).send().await.status,
            412,
            "{method} {path} without OCS-APIRequest"
        );
        tried += 1;
    }
    assert!(tried >= 20, "{tried}");
    assert_eq!(service.registry.refresh().await.unwrap().revision(), before);
}

/// A reader may look at the page; over the API an account of `ORW_READERS` changes nothing, and is told nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_writes_nothing_over_the_api() {
    let (scene, id) = Scene::with_a_reader().await;
    let changed = "SELECT (SELECT revision FROM openregister_webhooks.registry)::bigint * 1000 \
        + (SELECT count(*) FROM openregister_webhooks.job) + (SELECT count(*) FROM openregister_webhooks.delivery)";
    let before = scene.count(changed).await;
    let mut tried = Vec::new();
    for (method, path) in routes().into_iter().filter(|(method, _)| method != "GET") {
        let path = path.replace("{id}", &id.to_string()).replace("{appid}", "app");
        let request = hyper::Request::builder()
            .method(method.as_str())
            .uri(&path)
            .header("host", "localhost")
            .header(
                "authorization",
                format!("Basic {}", STANDARD.encode(format!("{}:{}", READER.0, READER.1))),
            )
            .header("ocs-apirequest", "true")
            .header("accept", "application/json")
            .header("content-type", "application/json")
            .body(Bytes::from(registration().to_string()).into())
            .unwrap();
        let reply = send(scene.sidecar.listen, request).await.unwrap();
        let status = if path.contains("v1.php") { 200 } else { 403 };
        assert_eq!(reply.status, status, "{method} {path}");
        let answer = reply.json();
        assert_eq!(answer["ocs"]["meta"]["statuscode"], 403, "{method} {path}");
        assert_eq!(answer["ocs"]["data"], json!([]), "{method} {path}");
        tried.push(path);
    }
    assert!(
        tried.iter().any(|path| path.ends_with("/deliveries/retry")),
        "{tried:?}"
    );
    assert_eq!(scene.count(changed).await, before);
}

#[tokio::test]
async fn guessing_is_answered_with_429_and_says_how_long_to_wait() {
    let service = Service::start().await;
    let ask = async |password: &str| {
        let asked = service.request("GET", LISTENERS).header("OCS-APIRequest", "true");
        asked.basic("admin", password).send().await
    };
    assert_eq!(ask("admin-password").await.status, 200);
    let mut answers = Vec::new();
    for i in 0..60 {
        answers.push(ask(&i.to_string()).await);
    }
    assert!(answers[..50].iter().all(|answer| answer.status == 401));
    assert_eq!(answers[59].status, 429);
    assert!(answers[59].header("retry-after").parse::<u64>().unwrap() >= 1);
    // Whoever is known to be right is not locked out by others at the same address.
    assert_eq!(ask("admin-password").await.status, 200);
}

#[tokio::test]
async fn own_fields_are_answered_where_sent_and_the_secret_once() {
    let service = Service::start().await;
    let mut body = registration();
    body["rateLimit"] = json!({"perSecond": 5});
    body["secret"] = "generate".into();
    let made = service.admin("POST", LISTENERS).json(&body).send().await.data();
    let names: Vec<_> = made
        .as_object()
        .unwrap()
        .keys()
        .skip(12)
        .map(String::as_str)
        .collect();
    assert_eq!(names, ["rateLimit", "secret"]);
    assert_eq!(made["rateLimit"], json!({"perSecond": 5, "burst": 200}));
    let secret = made["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("whsec_"));

    let id = made["id"].as_i64().unwrap();
    let one = format!("{LISTENERS}/{id}");
    let own = format!("{OWN}/webhooks/{id}");
    for path in [
        LISTENERS,
        &one,
        &own,
        &format!("{OWN}/webhooks"),
        &format!("{OWN}/audit"),
    ] {
        let answer = service.admin("GET", path).send().await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.text.contains(&secret), "{path}");
    }
    assert_eq!(
        service
            .admin("GET", &one)
            .send()
            .await
            .data()
            .as_object()
            .unwrap()
            .len(),
        12
    );
    let plain = service
        .admin("POST", LISTENERS)
        .json(&registration())
        .send()
        .await
        .data();
    assert_eq!(plain.as_object().unwrap().len(), 12);

    let rotated = service
        .admin("POST", &format!("{own}/secret"))
        .json(&json!({"overlapSeconds": 60}))
        .send()
        .await;
    let rotated = rotated.data();
    assert_ne!(rotated["secret"].as_str().unwrap(), secret);
    assert_eq!(rotated["secrets"], 2);
    // What the update does not name stays.
    service.admin("POST", &one).json(&registration()).send().await;
    let kept = service.admin("GET", &own).send().await.data();
    assert_eq!(
        (&kept["rateLimit"]["perSecond"], &kept["secrets"]),
        (&json!(5), &json!(2))
    );
}

#[tokio::test]
async fn webhooks_are_paused_disabled_and_enabled_and_the_audit_tells() {
    let service = Service::start().await;
    let id = service
        .admin("POST", LISTENERS)
        .json(&registration())
        .send()
        .await
        .data()["id"]
        .as_i64()
        .unwrap();
    let act = async |action: &str| {
        let path = format!("{OWN}/webhooks/{id}/{action}");
        service
            .admin("POST", &path)
            .json(&json!({"reason": "maintenance"}))
            .send()
            .await
            .data()["status"]
            .clone()
    };
    assert_eq!(act("pause").await["state"], "paused");
    assert_eq!(act("resume").await["state"], "enabled");
    let disabled = act("disable").await;
    assert_eq!(
        (&disabled["state"], &disabled["reason"]),
        (&json!("disabled"), &json!("maintenance"))
    );
    assert_eq!(act("enable").await["state"], "enabled");
    let missing = service
        .admin("POST", &format!("{OWN}/webhooks/7/pause"))
        .send()
        .await;
    assert_eq!(
        (missing.status, missing.json()["ocs"]["meta"]["message"].clone()),
        (404, json!("Webhook 7 does not exist"))
    );

    let page = service
        .admin("GET", &format!("{OWN}/audit?limit=2&webhook={id}"))
        .send()
        .await
        .data();
    let actions = |page: &Value| -> Vec<String> {
        let entries = page["entries"].as_array().unwrap();
        entries
            .iter()
            .map(|entry| entry["action"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(actions(&page), ["enable", "disable"]);
    let next = format!("{OWN}/audit?limit=10&cursor={}", page["cursor"].as_str().unwrap());
    let rest = service.admin("GET", &next).send().await.data();
    assert_eq!(actions(&rest), ["enable", "pause", "create"]);
    assert_eq!(rest["cursor"], Value::Null);
    assert_eq!(
        service
            .admin("GET", &format!("{OWN}/audit?cursor=x"))
            .send()
            .await
            .status,
        400
    );
    assert_eq!(
        service
            .admin("GET", &format!("{OWN}/audit?limit=501"))
            .send()
            .await
            .status,
        400
    );
    let events = service.admin("GET", &format!("{OWN}/events")).send().await.data();
    assert_eq!(events.as_array().unwrap().len(), EventClass::COUNT);
}

#[tokio::test]
async fn targets_and_events_that_cannot_be_and_filters_that_can_only_fail_are_refused() {
    let service = Service::start().await;
    let ask = async |field: &str, value: Value| {
        let mut body = registration();
        body[field] = value;
        let answer = service.admin("POST", LISTENERS).json(&body).send().await;
        (
            answer.status,
            answer.json()["ocs"]["meta"]["message"]
                .as_str()
                .unwrap()
                .to_owned(),
        )
    };
    for (uri, word) in [
        ("http://example.com/", "ORW_TARGETS_ALLOW_HTTP"),
        ("https://127.0.0.1/", "ORW_TARGETS_ALLOW"),
        ("https://0x7f.1/", "ORW_TARGETS_ALLOW"),
        ("https://2130706433/", "ORW_TARGETS_ALLOW"),
        ("https://169.254.169.254/latest", "ORW_TARGETS_ALLOW"),
        ("https://[::ffff:10.0.0.1]/", "ORW_TARGETS_ALLOW"),
        ("https://user:hidden@example.com/", "authData"),
    ] {
        let (status, message) = ask("uri", uri.into()).await;
        assert_eq!(status, 400, "{uri}");
        assert!(
            message.starts_with("uri: ") && message.contains(word) && !message.contains("hidden"),
            "{message}"
        );
    }
    for (event, reason) in [
        ("ObjectUpdatingEvent", "It is sent before the write"),
        ("TaskTransitionedEvent", "not captured"),
        ("File*", "storage"),
        ("ObjectTransitioned*", "register it by its full name"),
    ] {
        let (status, message) = ask("event", format!(r"OCA\OpenRegister\Event\{event}").into()).await;
        assert_eq!(status, 400, "{event}");
        assert!(
            message.starts_with("event: ") && message.contains(reason),
            "{message}"
        );
    }
    let (status, message) = ask("eventFilter", json!({"$or": [{"user.uid": {"$foo": 1}}]})).await;
    assert_eq!(status, 400);
    assert!(
        message.starts_with("eventFilter: ") && message.contains("$or[0].user.uid.$foo"),
        "{message}"
    );
    let (status, message) = ask("eventFilter", json!({"user.id": "bob"})).await;
    assert_eq!(status, 200);
    assert!(
        message.starts_with("OK; warning: eventFilter: user.id"),
        "{message}"
    );
    assert_eq!(service.registry.snapshot().all().len(), 1);
}
