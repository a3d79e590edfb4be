//! `cloudevents`: CloudEvents 1.0, structured JSON.

use chrono::SecondsFormat;
use serde_json::{Map, Value};

use super::documented;
use crate::lifecycle::Event;
use crate::registry::EventSource;

pub(super) const CONTENT_TYPE: &str = "application/cloudevents+json";

/// `type` is `nl.conduction.openregister.object.created`; the class is in the extension attribute `eventclass`.
/// An attribute without a value is left out, as the specification demands. The user is
/// not in it: nothing waits for who did it, so a retry might say more than the first attempt.
pub(super) fn body(event: &Event, source: &EventSource) -> Value {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    put("specversion", "1.0".into());
    put("id", event.id.as_str().into());
    put("source", source.uri().into());
    let kind = event.class.kind();
    let action = event.class.action().name().to_ascii_lowercase();
    put(
        "type",
        format!("nl.conduction.openregister.{kind}.{action}").into(),
    );
    let entity = event.states.current().fields();
    let uuid = entity
        .get("uuid")
        .and_then(Value::as_str)
        .filter(|s| !s.is_empty());
    put(
        "subject",
        format!("{kind}:{}", uuid.unwrap_or_else(|| event.lane.as_str())).into(),
    );
    put(
        "time",
        event.at.to_rfc3339_opts(SecondsFormat::Micros, true).into(),
    );
    put("datacontenttype", "application/json".into());
    put("eventclass", event.class.name().into());
    put("data", Value::Object(documented::data(event)));
    Value::Object(fields)
}
