//! The registration API compared with every recorded answer of a Nextcloud 32 and a Nextcloud 34, and its own additions.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::support::api::{Answer, Service};
use crate::support::nextcloud::Nextcloud;

const CASES: &str = include_str!("../../fixtures/ocs-cases.json");
const CASES_34: &str = include_str!("../../fixtures/ocs-cases-34.json");

/// Recorded ids stand for the ids that this run gave.
#[derive(Default)]
struct Ids(HashMap<String, i64>);

impl Ids {
    /// `{1}` in a text.
    fn text(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (recorded, id)| {
            text.replace(&format!("{{{recorded}}}"), &id.to_string())
        })
    }

    /// The fields `id` of a value.
    fn data(&self, value: &Value) -> Value {
        match value {
            Value::Array(list) => list.iter().map(|value| self.data(value)).collect(),
            Value::Object(map) => map
                .iter()
                .map(|(name, value)| match self.0.get(&value.to_string()) {
                    Some(id) if name == "id" => (name.clone(), json!(id)),
                    _ => (name.clone(), self.data(value)),
                })
                .collect(),
            other => other.clone(),
        }
    }

    /// Learns the id of a webhook that a case created.
    fn learn(&mut self, recorded: Option<String>, given: Option<i64>) {
        if let (Some(recorded), Some(given)) = (recorded, given) {
            self.0.entry(recorded).or_insert(given);
        }
    }
}

fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    Some(rest.split_once('<')?.0.to_owned())
}

fn check(case: &Value, answer: &Answer, ids: &mut Ids) {
    let name = case["name"].as_str().unwrap();
    let expect = &case["expect"];
    assert_eq!(json!(answer.status), expect["status"], "{name}: {}", answer.text);
    let made =
        |recorded: Option<String>, given| recorded.map(|r| r.trim_matches(['{', '}']).to_owned()).zip(given);
    if let Some(xml) = expect["xml"].as_str() {
        assert_eq!(
            answer.header("content-type"),
            "application/xml; charset=utf-8",
            "{name}"
        );
        let given = element(&answer.text, "id").and_then(|id| id.parse().ok());
        if let Some((recorded, given)) = made(element(xml, "id"), given) {
            ids.learn(Some(recorded), Some(given));
        }
        assert_eq!(answer.text, ids.text(xml), "{name}");
    } else if let Some(plain) = expect.get("plain") {
        // The answer may say more than Nextcloud's.
        let given = answer.json();
        for (key, value) in plain.as_object().unwrap() {
            assert_eq!(&given[key], value, "{name}");
        }
    } else if expect.get("empty").is_some() {
        assert_eq!(answer.text, "", "{name}");
    } else if expect.get("wellFormed").is_some() {
        let mut reader = quick_xml::Reader::from_str(&answer.text);
        while !matches!(reader.read_event().unwrap(), quick_xml::events::Event::Eof) {}
    } else {
        let body = &answer.json()["ocs"];
        assert_eq!(body["meta"], expect["meta"], "{name}");
        ids.learn(
            Some(expect["data"]["id"].to_string()).filter(|id| id != "null"),
            body["data"]["id"].as_i64(),
        );
        assert_eq!(body["data"], ids.data(&expect["data"]), "{name}");
        let order = |value: &Value| {
            value
                .as_object()
                .map(|map| map.keys().cloned().collect::<Vec<_>>())
        };
        assert_eq!(order(&body["data"]), order(&expect["data"]), "{name}");
        assert_eq!(
            answer.header("content-type"),
            "application/json; charset=utf-8",
            "{name}"
        );
    }
}

/// Cases about webhooks that are Nextcloud's if there is one: it answers them itself.
const NEXTCLOUDS: [&str; 17] = [
    "create-unknown-event",
    "show-missing-json",
    "show-missing-xml",
    "show-nonint",
    "show-overflow",
    "show-missing-v1",
    "update-missing",
    "delete-nonint",
    "delete-false-xml",
    "no-auth-json",
    "no-auth-xml",
    "no-auth-v1",
    "head",
    "unknown-route",
    "unknown-route-v1",
    "user-v1",
    "status-php",
];

/// Replays the cases but for those with these names.
async fn replay(service: &Service, cases: &str, without: &[&str]) {
    let cases: Vec<Value> = serde_json::from_str(cases).unwrap();
    assert!(
        without
            .iter()
            .all(|name| cases.iter().any(|case| case["name"] == *name))
    );
    let mut ids = Ids::default();
    for case in &cases {
        if without.iter().any(|name| case["name"] == *name) {
            continue;
        }
        let request = &case["request"];
        let mut body = request["body"].clone();
        if let Some(length) = request["padUri"].as_u64() {
            let uri = body["uri"].as_str().unwrap().to_owned();
            body["uri"] = format!("{uri:a<length$}", length = usize::try_from(length).unwrap()).into();
        }
        let mut asked = service.request(
            request["method"].as_str().unwrap(),
            &ids.text(request["path"].as_str().unwrap()),
        );
        asked = match request["auth"].as_str() {
            Some("admin") => asked.basic("admin", "admin-password"),
            Some("wrong") => asked.basic("admin", "wrong"),
            Some(_) => asked.basic("bob", "bob-password"),
            None => asked,
        };
        for (name, value) in request["headers"].as_object().unwrap() {
            asked = asked.header(name, value.as_str().unwrap());
        }
        asked = match &body {
            Value::Null => asked,
            Value::String(text) => asked.body(text.clone()),
            other => asked.body(other.to_string()),
        };
        let answer = asked.send().await;
        check(case, &answer, &mut ids);
        for (name, value) in [
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "SAMEORIGIN"),
            ("x-robots-tag", "noindex, nofollow"),
            ("cache-control", "no-cache, no-store, must-revalidate"),
        ] {
            assert_eq!(answer.header(name), value, "{}", case["name"]);
        }
        assert_eq!(answer.header("x-request-id").len(), 20, "{}", case["name"]);
        let www = case["name"] == "bad-auth-json";
        assert_eq!(
            answer.header("www-authenticate") == "Basic realm=\"Authorisation Required\"",
            www
        );
    }
    assert!(ids.0.values().all(|id| *id >= 1_000_000_000), "{:?}", ids.0);
}

#[tokio::test]
async fn every_recorded_answer_of_nextcloud_34_is_given_without_a_nextcloud() {
    let service = Service::start().await;
    replay(&service, CASES_34, &[]).await;
}

#[tokio::test]
async fn every_recorded_answer_of_nextcloud_32_is_given_before_one() {
    let nextcloud = Nextcloud::start().await;
    let service = Service::before(&nextcloud).await;
    replay(&service, CASES, &NEXTCLOUDS).await;
}
