//! What traces learn of an attempt, and what a body says of its trace.

use std::time::Duration;

use chrono::TimeDelta;

use crate::delivery::queue::{AttemptRecord, Claimed, Outcome};
use crate::lifecycle::StoredEvent;
use crate::traces::{Attempt, Delivery, DeliveryIds, End, StoredIn, TraceParent, Traces};

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

/// The body of a CloudEvent, with the attribute `traceparent` of the distributed tracing extension; any other body as it is.
/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/extensions/distributed-tracing.md>
pub(super) fn body(body: Vec<u8>, content_type: &str, parent: &TraceParent) -> Vec<u8> {
    if !content_type.starts_with("application/cloudevents+json") {
        return body;
    }
    // An object that has members, as every CloudEvent does; ours has no such attribute.
    let Some(members) = body.strip_prefix(b"{").filter(|rest| rest.first() == Some(&b'"')) else {
        return body;
    };
    let attribute = format!("{{\"traceparent\":\"{parent}\",");
    [attribute.as_bytes(), members].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cloud_event_names_its_trace_and_other_bodies_stay_as_they_are() {
        let parent = DeliveryIds::of("evt_00112233445566778899aabbccddeeff", 1, 1).delivery_parent();
        let event = br#"{"specversion":"1.0","id":"a"}"#.to_vec();
        let traced = body(
            event.clone(),
            "application/cloudevents+json; charset=utf-8",
            &parent,
        );
        let read: serde_json::Value = serde_json::from_slice(&traced).unwrap();
        assert_eq!(
            (&read["traceparent"], &read["id"]),
            (&parent.to_string().into(), &"a".into())
        );
        assert_eq!(body(event.clone(), "application/json", &parent), event);
        for strange in [&b"{}"[..], b"[]", b""] {
            assert_eq!(
                body(strange.to_vec(), "application/cloudevents+json", &parent),
                strange
            );
        }
    }
}
