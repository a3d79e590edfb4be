//! What the views of the page ask for: each question, what it answered, and how long that took.

use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openregister_webhooks::delivery::{figures, overview};
use openregister_webhooks::pipeline::preview;
use orw_filter::Filter;
use orw_model::EventClass;
use serde_json::{Value, json};

use super::large_log::{Scene, WEBHOOKS};
use crate::page::visitor::Visitor;
use crate::support::scene::API;
use crate::support::sidecar::ADMIN;

/// How often each question is asked.
const ASKED: usize = 7;
/// A log of so many deliveries has something of every kind.
const LARGE: i64 = 1_000_000;
/// Deliveries on a page.
const LIMIT: usize = 100;

/// A filter of the list of deliveries, and whether it shows something in a full log.
pub(super) struct List {
    name: &'static str,
    fields: Vec<(&'static str, String)>,
    found: bool,
}

fn list(name: &'static str, fields: &[(&'static str, &str)], found: bool) -> List {
    List {
        name,
        fields: fields
            .iter()
            .map(|(name, text)| (*name, (*text).to_owned()))
            .collect(),
        found,
    }
}

/// The lists that are asked for.
pub(super) fn lists(deliveries: i64, webhook: i64) -> Vec<List> {
    let id = webhook.to_string();
    let (id, middle) = (id.as_str(), (deliveries / 2).max(1).to_string());
    let rare = ("class", "AgentDeletedEvent");
    let event = format!("evt_{}", deliveries / 3);
    let object = (deliveries / 3 % super::large_log::OBJECTS).to_string();
    vec![
        list("first page", &[], true),
        list("page in the middle", &[("before", &middle)], true),
        list("last page", &[("before", "101")], true),
        list("a webhook", &[("webhook", id)], true),
        list(
            "a webhook, given up",
            &[("webhook", id), ("state", "given_up")],
            true,
        ),
        list("given up", &[("state", "given_up")], true),
        list("cancelled: none", &[("state", "cancelled")], false),
        list(
            "a class that is frequent",
            &[("class", "ObjectUpdatedEvent")],
            true,
        ),
        list("a class that is rare", &[rare], true),
        list(
            "a class that is rare, of a webhook",
            &[rare, ("webhook", id)],
            true,
        ),
        list(
            "a class that is not there",
            &[("class", "SourceDeletedEvent")],
            false,
        ),
        list("an object", &[("object", &object)], true),
        list(
            "an object, given up",
            &[("object", &object), ("state", "given_up")],
            false,
        ),
        list("a webhook-id", &[("webhookId", &event)], true),
        list(
            "a webhook-id that is not there",
            &[("webhookId", "evt_none")],
            false,
        ),
        list("a status", &[("status", "503")], true),
        list("statuses", &[("status", "5xx")], true),
        list("a status of a success", &[("status", "204")], true),
        list("a status that is not there", &[("status", "418")], false),
        list("a cause", &[("cause", "timeout")], true),
        list(
            "a cause, of a webhook",
            &[("cause", "timeout"), ("webhook", id)],
            true,
        ),
        list(
            "a cause and a status that exclude each other",
            &[("cause", "timeout"), ("status", "503")],
            false,
        ),
        list(
            "an hour three days ago",
            &[("since", "73h"), ("until", "72h")],
            true,
        ),
        list(
            "a status of a success, in an hour",
            &[("status", "204"), ("since", "73h"), ("until", "72h")],
            true,
        ),
    ]
}

impl List {
    pub(super) fn path(&self) -> String {
        let named = self.fields.iter().map(|(name, text)| match *name {
            "before" => {
                // A place in a list, as the API gives it.
                let id: i64 = text.parse().unwrap();
                format!("&cursor={}", URL_SAFE_NO_PAD.encode(id.to_be_bytes()))
            }
            name => format!("&{name}={text}"),
        });
        format!("/deliveries?limit={LIMIT}{}", named.collect::<String>())
    }
}

impl Scene {
    /// What every view asks for, with the median of what each question took, in ms.
    pub(super) async fn views(&self, deliveries: i64) -> Vec<(&'static str, f64)> {
        let mut figures = Vec::new();
        for list in lists(deliveries, self.webhook) {
            let (ms, page) = self.asked("GET", &list.path(), json!({})).await;
            let entries = page["deliveries"].as_array().unwrap();
            let what = list.name;
            assert!(
                entries.iter().all(|entry| fits(entry, &list.fields)),
                "{what}: {page}"
            );
            if deliveries >= LARGE {
                assert_eq!(!entries.is_empty(), list.found, "{what}: {page}");
            }
            figures.push(measured(what, ms));
        }
        let newest = self
            .figure("SELECT max(id) FROM openregister_webhooks.delivery_log")
            .await;
        let one = format!("/webhooks/{}/statistics", self.webhook);
        for (name, path) in [
            ("one delivery with its attempts", format!("/deliveries/{newest}")),
            ("statistics of a webhook", one),
            ("statistics of all webhooks", "/statistics".to_owned()),
            ("webhooks", "/webhooks".to_owned()),
            ("jobs", "/jobs".to_owned()),
            ("audit", "/audit".to_owned()),
        ] {
            figures.push(measured(name, self.asked("GET", &path, json!({})).await.0));
        }
        for (name, mut fields) in [
            ("count for a retry of everything", json!({})),
            (
                "count for a retry of a webhook's timeouts",
                json!({"webhook": self.webhook, "cause": "timeout"}),
            ),
        ] {
            fields["dryRun"] = true.into();
            let (ms, counted) = self.asked("POST", "/deliveries/retry", fields).await;
            if deliveries >= LARGE {
                assert!(counted["count"].as_i64().unwrap() > 0, "{name}: {counted}");
            }
            figures.push(measured(name, ms));
        }
        figures.extend(self.of_the_page_alone().await);
        figures.extend(self.pages(newest).await);
        figures
    }

    /// What the page asks for, and no route has.
    async fn of_the_page_alone(&self) -> Vec<(&'static str, f64)> {
        let now = chrono::Utc::now();
        let webhooks: Vec<i64> = (0..WEBHOOKS).map(|n| self.webhook + n).collect();
        let (webhook, filter) = (
            openregister_webhooks::registry::WebhookId(self.webhook),
            Arc::new(Filter::parse(&json!({"event.class": "/Object/"})).unwrap()),
        );
        let classes: Vec<EventClass> = EventClass::all().collect();
        let mut figures = Vec::new();
        let took = median(async || {
            overview::overall(&self.client).await.unwrap();
        });
        figures.push(measured("overview", took.await));
        let took = median(async || {
            let of = overview::of(&self.client, &webhooks).await.unwrap();
            assert_eq!(of.len(), webhooks.len());
        });
        figures.push(measured("overview of 20 webhooks", took.await));
        for (name, webhook, step, points) in [
            ("chart of a day", None, 10, 144),
            ("chart of a webhook's day, each minute", Some(webhook), 1, 1_440),
        ] {
            let took = median(async || {
                let series = figures::series(&self.client, webhook, now, 1_440, step)
                    .await
                    .unwrap();
                assert_eq!(series.len(), points);
            });
            figures.push(measured(name, took.await));
        }
        let took = median(async || {
            let tried = preview::filter(&self.client, Arc::clone(&filter), None, &classes)
                .await
                .unwrap();
            assert!(tried.looked_at > 0);
        });
        figures.push(measured("a filter on the last 200 events", took.await));
        figures
    }

    /// The views of the page themselves, as a browser gets them.
    async fn pages(&self, newest: i64) -> Vec<(&'static str, f64)> {
        let mut visitor = Visitor::logged_in(self.sidecar.listen, ADMIN.0, ADMIN.1).await;
        let id = self.webhook;
        let mut figures = Vec::new();
        for (name, path) in [
            ("page: overview", "/".to_owned()),
            ("page: webhooks", "/webhooks".to_owned()),
            ("page: a webhook", format!("/webhooks/{id}")),
            ("page: a new webhook", "/webhooks/new".to_owned()),
            ("page: a webhook's settings", format!("/webhooks/{id}/edit")),
            ("page: deliveries", "/deliveries".to_owned()),
            (
                "page: deliveries, given up",
                "/deliveries?state=given_up".to_owned(),
            ),
            (
                "page: deliveries of an object",
                "/deliveries?object=77".to_owned(),
            ),
            ("page: a delivery", format!("/deliveries/{newest}")),
            ("page: jobs", "/jobs".to_owned()),
            ("page: live", "/live".to_owned()),
            ("page: events", "/events".to_owned()),
            ("page: an event", "/events/ObjectUpdatedEvent".to_owned()),
            ("page: audit", "/audit".to_owned()),
        ] {
            figures.push(measured(name, shown(&mut visitor, &path, None).await));
        }
        let draft: &[(&str, &str)] = &[
            ("method", "POST"),
            ("event", "ObjectUpdatedEvent"),
            ("format", "documented"),
            ("mode", "full"),
            ("ordering", "object"),
            ("filter", "{\"event.class\": \"/Object/\"}"),
        ];
        for (name, path, form, says) in [
            (
                "page: a filter tried while it is written",
                "/webhooks/check",
                draft,
                // An empty log has no such event.
                ["such events would have matched", "No such event is stored"],
            ),
            (
                "page: count before a bulk retry",
                "/deliveries/retry",
                &[],
                ["deliveries can be sent again"; 2],
            ),
        ] {
            let ms = shown(&mut visitor, path, Some(form)).await;
            let shown = visitor.post(path, form).await;
            assert!(says.iter().any(|text| shown.has(text)), "{path}: {}", shown.text);
            figures.push(measured(name, ms));
        }
        figures
    }

    /// The median time of a question to the API, in ms; and what it answered last.
    async fn asked(&self, method: &str, path: &str, fields: Value) -> (f64, Value) {
        let mut took = Vec::new();
        let path = format!("{API}{path}");
        loop {
            let began = Instant::now();
            let reply = self.sidecar.api(method, &path, fields.clone()).await;
            took.push(began.elapsed().as_secs_f64() * 1000.0);
            assert_eq!(reply.status, 200, "{path}: {}", reply.body);
            if took.len() == ASKED {
                took.sort_by(f64::total_cmp);
                return (took[ASKED / 2], reply.json()["ocs"]["data"].clone());
            }
        }
    }
}

/// The median time of a view, in ms.
async fn shown(visitor: &mut Visitor, path: &str, form: Option<&[(&str, &str)]>) -> f64 {
    let mut took = Vec::new();
    for _ in 0..ASKED {
        let began = Instant::now();
        let shown = match form {
            Some(form) => visitor.post(path, form).await,
            None => visitor.get(path).await,
        };
        took.push(began.elapsed().as_secs_f64() * 1000.0);
        assert_eq!(shown.status, 200, "{path}: {} {}", shown.status, shown.text);
    }
    took.sort_by(f64::total_cmp);
    took[ASKED / 2]
}

/// A figure, told at once: a later failure does not take it away.
fn measured(name: &'static str, ms: f64) -> (&'static str, f64) {
    println!("{name:<48} {ms:>12.2}");
    (name, ms)
}

async fn median(ask: impl AsyncFn()) -> f64 {
    let mut took = Vec::new();
    for _ in 0..ASKED {
        let began = Instant::now();
        ask().await;
        took.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    took.sort_by(f64::total_cmp);
    took[ASKED / 2]
}

/// Whether a delivery is one that the fields ask for.
fn fits(entry: &Value, fields: &[(&'static str, String)]) -> bool {
    fields.iter().all(|(name, text)| match *name {
        "webhook" => entry["webhook"].as_i64() == text.parse().ok(),
        "before" => entry["id"].as_i64().unwrap() < text.parse().unwrap(),
        "object" => entry["lane"] == format!("object:{text}"),
        "status" => entry["status"]
            .to_string()
            .starts_with(text.trim_end_matches("xx")),
        "since" | "until" => true,
        other => entry[if other == "webhookId" { "eventId" } else { other }] == text.as_str(),
    })
}
