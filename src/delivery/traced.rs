//! What traces learn of an attempt, and what a body says of its trace.

use std::time::Duration;

use chrono::TimeDelta;
use hyper::header::{HeaderName, HeaderValue};

use crate::delivery::format::Rendered;
use crate::delivery::queue::{AttemptRecord, Claimed, Outcome};
use crate::lifecycle::StoredEvent;
use crate::traces::{Attempt, Delivery, DeliveryIds, End, StoredIn, TraceParent, Traces};

/// What only a CloudEvent in binary mode has.
const SPEC_VERSION: HeaderName = HeaderName::from_static("ce-specversion");
const TRACE_PARENT: HeaderName = HeaderName::from_static("ce-traceparent");

/// What is recorded of a delivery with each of its attempts.
pub(super) fn delivery(ids: DeliveryIds, delivery: &Claimed, event: &StoredEvent) -> Delivery {
    Delivery {
        ids,
        stored: StoredIn {
            day: delivery.event.day,
            seq: delivery.event.seq,
        },
        webhook: delivery.webhook.0,
        id: delivery.id,
        event: event.id().as_str().to_owned(),
        class: event.event_type().to_string(),
        reason: delivery.reason.name(),
        changed: event.at(),
    }
}

/// Records an attempt, and the delivery if it ends with it.
pub(super) fn record(
    traces: &Traces,
    delivery: Delivery,
    waited: Duration,
    record: &AttemptRecord,
    outcome: &Outcome,
) {
    let duration = TimeDelta::from_std(record.duration).unwrap_or_default();
    traces.attempt(Attempt {
        delivery,
        number: record.number,
        began: record.at,
        ended: record.at + duration,
        waited,
        status: record.status,
        cause: record.cause,
        end: match outcome {
            Outcome::Succeeded => Some(End::Succeeded),
            Outcome::GivenUp => Some(End::GivenUp),
            _ => None,
        },
    });
}

/// Gives a CloudEvent the attribute `traceparent` of the distributed tracing extension: in its body, or among its headers in binary
/// mode. Any other body stays as it is.
/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/extensions/distributed-tracing.md>
pub(super) fn name_trace(rendered: &mut Rendered, parent: &TraceParent) {
    if rendered.headers.iter().any(|(name, _)| name == SPEC_VERSION) {
        if let Ok(value) = HeaderValue::try_from(parent.to_string()) {
            rendered.headers.push((TRACE_PARENT, value));
        }
        return;
    }
    if !rendered.content_type.starts_with("application/cloudevents+json") {
        return;
    }
    // An object that has members, as every CloudEvent does; ours has no such attribute.
    if let Some(members) = rendered
        .body
        .strip_prefix(b"{")
        .filter(|rest| rest.first() == Some(&b'"'))
    {
        let attribute = format!("{{\"traceparent\":\"{parent}\",");
        rendered.body = [attribute.as_bytes(), members].concat();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(body: &[u8], content_type: &'static str, headers: &[HeaderName]) -> Rendered {
        let value = HeaderValue::from_static("1.0");
        Rendered {
            body: body.to_vec(),
            content_type,
            headers: headers.iter().map(|name| (name.clone(), value.clone())).collect(),
        }
    }

    #[test]
    fn a_cloud_event_names_its_trace_and_other_bodies_stay_as_they_are() {
        let parent = DeliveryIds::of("evt_00112233445566778899aabbccddeeff", 1, 1).delivery_parent();
        let named = |mut rendered: Rendered| {
            name_trace(&mut rendered, &parent);
            rendered
        };
        let event = br#"{"specversion":"1.0","id":"a"}"#;
        let structured = named(body(event, "application/cloudevents+json; charset=utf-8", &[]));
        let read: serde_json::Value = serde_json::from_slice(&structured.body).unwrap();
        assert_eq!(
            (&read["traceparent"], &read["id"]),
            (&parent.to_string().into(), &"a".into())
        );
        let binary = named(body(event, "application/json", &[SPEC_VERSION]));
        assert_eq!(binary.body, event);
        assert_eq!(binary.headers[1].0, "ce-traceparent");
        assert_eq!(binary.headers[1].1, parent.to_string());
        let other = body(event, "application/json", &[]);
        assert_eq!(named(other.clone()), other);
        for strange in [&b"{}"[..], b"[]", b""] {
            let strange = body(strange, "application/cloudevents+json", &[]);
            assert_eq!(named(strange.clone()), strange);
        }
    }
}
