//! `template`: the JSON that a registration's own template makes. What the template sees is what filters see, and a few names more.

use chrono::SecondsFormat;
use serde_json::{Map, Value};

use super::documented;
use crate::lifecycle::{Event, GAP_EVENT, GapNotice, StoredEvent};

/// The variables of a template.
#[must_use]
pub fn variables(event: &StoredEvent) -> Map<String, Value> {
    match event {
        StoredEvent::Event(event) => of_event(event),
        StoredEvent::Gap(notice) => of_gap(notice),
    }
}

fn of_event(event: &Event) -> Map<String, Value> {
    let data = documented::data(event);
    let mut states = Map::new();
    states.insert("class".into(), event.class.name().into());
    states.extend(data.clone());
    let actor = event.actor.actor();
    let groups: Value = actor.map(|actor| actor.groups.clone()).unwrap_or_default().into();
    let user = actor.map_or(Value::Null, |actor| {
        super::parts::map([
            ("uid", actor.uid.clone().into()),
            ("displayName", actor.shown_name().into()),
            ("groups", groups.clone()),
        ])
    });
    [
        ("id", event.id.as_str().into()),
        ("class", event.class.name().into()),
        ("entity", event.class.kind().name().into()),
        ("action", event.class.action().name().to_ascii_lowercase().into()),
        ("at", at(event.at)),
        ("time", event.at.timestamp().into()),
        ("data", data.into()),
        ("event", states.into()),
        ("user", user),
        ("group", groups.clone()),
        ("groups", groups),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

fn of_gap(notice: &GapNotice) -> Map<String, Value> {
    let gap = || super::parts::map([("gap", Value::Object(notice.fields().clone()))]);
    let mut event = Map::new();
    event.insert("class".into(), GAP_EVENT.into());
    event.insert("gap".into(), Value::Object(notice.fields().clone()));
    [
        ("id", notice.id.as_str().into()),
        ("class", GAP_EVENT.into()),
        ("entity", "gap".into()),
        ("action", "gap".into()),
        ("at", at(notice.at)),
        ("time", notice.at.timestamp().into()),
        ("data", gap()),
        ("event", event.into()),
    ]
    .into_iter()
    .map(|(name, value): (&str, Value)| (name.to_owned(), value))
    .collect()
}

fn at(time: chrono::DateTime<chrono::Utc>) -> Value {
    time.to_rfc3339_opts(SecondsFormat::Micros, true).into()
}
