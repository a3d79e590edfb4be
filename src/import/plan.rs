//! What becomes of each row, and what has no counterpart. Nothing is read or written here.

use orw_model::{EntityKind, EventClass};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::classes::{Named, covered_by, documented, named};
use super::filters::{Translated, translate};
use super::row::Row;
use crate::registry::{Fields, parse_secret};

/// How OpenRegister begins the names of webhooks that the annotations of a schema make.
const OF_A_SCHEMA: &str = "or-notif-";
/// The longest time that a request may take, and the longest delay between two attempts, in seconds.
const LONGEST_TIMEOUT: i64 = 300;
const LONGEST_DELAY: i64 = 604_800;
/// The most retries that one of our webhooks makes.
const MOST_RETRIES: i64 = 49;

/// What becomes of one row of OpenRegister's.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The row's own id, uuid and name.
    pub id: i64,
    pub uuid: String,
    pub name: String,
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What differs, and what to do about it.
    pub notes: Vec<String>,
    /// Hosts that `ORW_TARGETS_ALLOW` may need.
    pub allow: Vec<String>,
}

/// Whether a row is taken over.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase", tag = "outcome")]
pub enum Outcome {
    /// As these webhooks: OpenRegister's rows may name several events, ours name one event or pattern.
    Register { webhooks: Vec<Planned> },
    /// Why not.
    LeftOut { reason: String },
}

/// One webhook that is to be registered.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Planned {
    pub event: String,
    pub event_filter: Map<String, Value>,
    /// Everything that the registration API takes; not shown, because headers may be secrets.
    #[serde(skip)]
    pub(super) fields: Map<String, Value>,
}

/// Plans what becomes of a row.
pub(super) fn plan(row: &Row) -> Plan {
    let mut notes = Vec::new();
    let mut allow = Vec::new();
    let outcome = match webhooks(row, &mut notes, &mut allow) {
        Ok(webhooks) => Outcome::Register { webhooks },
        Err(reason) => Outcome::LeftOut { reason },
    };
    Plan {
        id: row.id,
        uuid: row.uuid.clone(),
        name: row.name.clone(),
        outcome,
        notes,
        allow,
    }
}

fn webhooks(row: &Row, notes: &mut Vec<String>, allow: &mut Vec<String>) -> Result<Vec<Planned>, String> {
    if let Some(mapping) = row.mapping {
        return Err(format!(
            "its body is made by the mapping {mapping} (Twig), which has no counterpart; register it by hand with a format that the receiver understands"
        ));
    }
    let classes = classes(row, notes)?;
    let filters = row.filters.object().ok_or("its filters are not a JSON object")?;
    let translated = translate(&filters, &classes)?;
    if translated.classes.is_empty() {
        return Err("its filters fit none of its events".to_owned());
    }
    let fields = fields(row, notes, allow)?;
    Ok(parts(row, translated, notes)
        .into_iter()
        .flat_map(|part| {
            let fields = fields.clone();
            covered_by(&part.classes).into_iter().map(move |event| {
                let mut fields = fields.clone();
                fields.insert("event".to_owned(), event.clone().into());
                if !part.filter.is_empty() {
                    fields.insert("eventFilter".to_owned(), part.filter.clone().into());
                }
                Planned {
                    event,
                    event_filter: part.filter.clone(),
                    fields,
                }
            })
        })
        .collect())
}

/// The classes that the row's events name; all of them if it names none.
fn classes(row: &Row, notes: &mut Vec<String>) -> Result<Vec<EventClass>, String> {
    let events = row
        .events
        .texts()
        .ok_or("its events are not a JSON list of texts")?;
    if events.is_empty() {
        return Ok(documented());
    }
    let mut wanted = Vec::new();
    for event in &events {
        match named(event) {
            Named::Classes(classes) => wanted.extend(classes),
            Named::Before => notes.push(format!(
                "{event} has no counterpart: only OpenRegister itself can send something before a change is made"
            )),
            Named::Unknown => notes.push(format!("{event} has no counterpart: it is none of the 33 documented events")),
        }
    }
    let classes: Vec<_> = EventClass::all().filter(|class| wanted.contains(class)).collect();
    if classes.is_empty() {
        return Err("none of its events has a counterpart".to_owned());
    }
    Ok(classes)
}

/// OpenRegister sends a webhook of an organisation what is done for that organisation: objects have it as a value that can be compared.
fn parts(row: &Row, all: Translated, notes: &mut Vec<String>) -> Vec<Translated> {
    let Some(organisation) = row.organisation.as_deref().filter(|one| !one.is_empty()) else {
        return vec![all];
    };
    let (objects, others): (Vec<_>, Vec<_>) = all
        .classes
        .iter()
        .partition(|class| class.kind() == EntityKind::Object);
    let mut parts = Vec::new();
    if !objects.is_empty() {
        let mut filter = all.filter.clone();
        filter
            .entry("event.object.organisation")
            .or_insert_with(|| json!(organisation));
        parts.push(Translated {
            classes: objects,
            filter,
        });
    }
    if !others.is_empty() {
        notes.push(format!(
            "events of other kinds than objects come of every organisation, not only of {organisation}"
        ));
        parts.push(Translated {
            classes: others,
            filter: all.filter,
        });
    }
    parts
}

/// The fields that all webhooks of a row have.
fn fields(row: &Row, notes: &mut Vec<String>, allow: &mut Vec<String>) -> Result<Map<String, Value>, String> {
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| {
        fields.insert(name.to_owned(), value);
    };
    set("uri", row.url.clone().into());
    set("httpMethod", row.method.clone().into());
    set("enabled", row.enabled.into());
    let headers = row.headers.object().ok_or("its headers are not a JSON object")?;
    if !headers.is_empty() {
        set("headers", headers.into());
    }
    let seconds = row.timeout.unwrap_or(30).clamp(1, LONGEST_TIMEOUT);
    set("timeoutSeconds", seconds.into());
    set("retry", retry(row, notes));
    if row.method.eq_ignore_ascii_case("GET") {
        notes.push("OpenRegister puts the payload of a GET into the query; here it is the body".to_owned());
    }
    if let Some(secret) = row.secret.as_deref().filter(|secret| !secret.is_empty()) {
        set("legacySignature", true.into());
        if can_sign(secret) {
            set("secret", secret.into());
        } else {
            notes.push(
            "it gets a new signing secret, because OpenRegister's is not long enough or of another form: give the receiver the new one; \
             X-Webhook-Signature is made with it, too"
                .to_owned(),
            );
        }
    }
    if row.name.starts_with(OF_A_SCHEMA) {
        notes.push(
            "a schema manages this row (x-openregister-notifications): what is changed there later is not taken over".to_owned(),
        );
    }
    let format = configuration(row, notes, allow)?;
    set("format", format.into());
    Ok(fields)
}

/// Whether our webhooks can sign with this secret.
fn can_sign(secret: &str) -> bool {
    let mut fields = Fields::default();
    fields.or_insert("secret", || secret.into());
    parse_secret(&fields).is_ok_and(|secret| secret.is_some())
}

/// Reads `configuration`; the format.
fn configuration(
    row: &Row,
    notes: &mut Vec<String>,
    allow: &mut Vec<String>,
) -> Result<&'static str, String> {
    let configuration = row
        .configuration
        .object()
        .ok_or("its configuration is not a JSON object")?;
    let is_set = |name: &str| configuration.get(name).is_some_and(|value| value == true);
    if is_set("interceptRequests") {
        notes
            .push("interceptRequests has no counterpart: nothing is sent before a change is made".to_owned());
    }
    if is_set("allowPrivateTargets") {
        let host = hyper::Uri::try_from(row.url.as_str()).ok();
        allow.extend(host.and_then(|uri| uri.host().map(str::to_owned)));
    }
    let cloud_events = is_set("useCloudEvents");
    for name in ["cloudEventSource", "cloudEventSubject"] {
        if cloud_events
            && configuration
                .get(name)
                .is_some_and(|value| !value.is_null() && value != "")
        {
            notes.push(format!(
                "{name} has no counterpart: source and subject are made by the sidecar"
            ));
        }
    }
    Ok(if cloud_events {
        "cloudevents"
    } else {
        "openregister"
    })
}

/// OpenRegister's delays between attempts, in its words: exponential 2^n, linear 5n, fixed 5 minutes.
fn retry(row: &Row, notes: &mut Vec<String>) -> Value {
    let asked = row.max_retries.unwrap_or(3).max(0);
    let count = asked.min(MOST_RETRIES);
    if asked > count {
        notes.push(format!(
            "max_retries is {asked}; there are {count} retries at most"
        ));
    }
    let minutes = |n: i64| match row.retry_policy.as_deref() {
        Some("linear") => 5 * n,
        Some("fixed") => 5,
        _ => 1_i64 << n.min(20),
    };
    let schedule: Vec<i64> = (1..=count)
        .map(|n| (minutes(n) * 60).min(LONGEST_DELAY))
        .collect();
    notes.push("retries are made at these times whatever fails, also a connection; OpenRegister retried answers only".to_owned());
    if schedule.is_empty() {
        json!({ "maxAttempts": 1 })
    } else {
        json!({ "maxAttempts": count + 1, "schedule": schedule })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(more: Value) -> Plan {
        let mut row =
            json!({"id": 7, "uuid": "u", "name": "n", "url": "https://hooks.example/x", "events": "[]"});
        for (name, value) in more.as_object().unwrap() {
            row[name] = value.clone();
        }
        plan(&serde_json::from_value(row).unwrap())
    }

    fn webhooks(plan: &Plan) -> &[Planned] {
        match &plan.outcome {
            Outcome::Register { webhooks } => webhooks,
            Outcome::LeftOut { reason } => panic!("{reason}"),
        }
    }

    #[test]
    fn a_row_becomes_what_it_was() {
        let plan = planned(json!({
            "events": r#"["ObjectCreatedEvent", "OCA\\OpenRegister\\Event\\ObjectUpdatedEvent", "ObjectCreatingEvent"]"#,
            "headers": r#"{"X-Key": "k"}"#, "filters": r#"{"register": "1"}"#, "retry_policy": "linear", "max_retries": 2,
            "timeout": 900, "secret": "s3cret", "organisation": "org",
            "configuration": r#"{"useCloudEvents": true, "allowPrivateTargets": true}"#,
        }));
        let all = webhooks(&plan);
        assert_eq!(all.len(), 2);
        let expected = json!({"event.object.register": "1", "event.object.organisation": "org"});
        assert_eq!(Value::Object(all[0].event_filter.clone()), expected);
        let fields = &all[0].fields;
        assert_eq!(fields["retry"], json!({"maxAttempts": 3, "schedule": [300, 600]}));
        assert_eq!(
            (&fields["format"], &fields["timeoutSeconds"]),
            (&json!("cloudevents"), &json!(300))
        );
        assert_eq!(plan.allow, ["hooks.example"]);
        assert!(
            plan.notes
                .iter()
                .any(|note| note.starts_with("ObjectCreatingEvent has no counterpart"))
        );
        let shown = serde_json::to_string(&plan).unwrap();
        assert!(!shown.contains("s3cret") && !shown.contains("X-Key"), "{shown}");
    }

    #[test]
    fn what_would_get_more_or_something_else_is_left_out() {
        for (more, reason) in [
            (json!({"mapping": 4}), "mapping 4"),
            (json!({"filters": r#"{"timestamp": "x"}"#}), "timestamp"),
            (json!({"filters": "{"}), "filters"),
            (
                json!({"filters": r#"{"action": "sometimes"}"#}),
                "none of its events",
            ),
            (
                json!({"events": r#"["ObjectDeletingEvent"]"#}),
                "none of its events",
            ),
            (json!({"events": "7"}), "events"),
            (json!({"headers": "[1]"}), "headers"),
            (json!({"configuration": "yes"}), "configuration"),
        ] {
            match planned(more.clone()).outcome {
                Outcome::LeftOut { reason: said } => assert!(said.contains(reason), "{more}: {said}"),
                Outcome::Register { .. } => panic!("{more}"),
            }
        }
    }
}
