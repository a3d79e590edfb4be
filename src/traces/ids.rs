//! The ids of traces and spans, and how a receiver is told of them.
//!
//! Guarantees: ids are functions of what they name, so every process gives the same; none is all zeros, which W3C's Trace Context
//! forbids (<https://www.w3.org/TR/trace-context/>).

use std::fmt;

use chrono::NaiveDate;
use data_encoding::HEXLOWER;
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use sha2::{Digest, Sha256};

/// What an event's id begins with; 32 hexadecimal digits follow.
const EVENT: &str = "evt_";

/// The ids of one attempt of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryIds {
    trace: TraceId,
    delivery: SpanId,
    attempt: SpanId,
}

impl DeliveryIds {
    /// Those of the attempt under the lease `fence` of a delivery of this event.
    #[must_use]
    pub fn of(event: &str, delivery: i64, fence: i64) -> Self {
        let number = delivery.to_be_bytes();
        Self {
            trace: trace_of(event),
            delivery: span_id(&[b"delivery", &number, event.as_bytes()]),
            attempt: span_id(&[b"attempt", &number, &fence.to_be_bytes(), event.as_bytes()]),
        }
    }

    /// For the header `traceparent` of this attempt: a consumer's spans are below it.
    #[must_use]
    pub const fn attempt_parent(&self) -> TraceParent {
        TraceParent(self.trace, self.attempt)
    }

    /// For a body, which is the same in every attempt.
    #[must_use]
    pub const fn delivery_parent(&self) -> TraceParent {
        TraceParent(self.trace, self.delivery)
    }

    pub(super) fn delivery(&self) -> SpanContext {
        context(self.trace, self.delivery)
    }

    pub(super) fn attempt(&self) -> SpanContext {
        context(self.trace, self.attempt)
    }
}

/// The value of `traceparent`: version 00, sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent(TraceId, SpanId);

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-01", self.0, self.1)
    }
}

/// The span of the batch whose transaction had this id, on this day: ids of transactions begin again after a restore.
pub(super) fn batch(day: NaiveDate, transaction: &str) -> SpanContext {
    let digest = digest(&[b"batch", day.to_string().as_bytes(), transaction.as_bytes()]);
    context(first_16(&digest), last_8(&digest))
}

fn context(trace: TraceId, span: SpanId) -> SpanContext {
    SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::default())
}

/// The digits of the event's id.
fn trace_of(event: &str) -> TraceId {
    let digits = event.strip_prefix(EVENT).unwrap_or_default();
    let bytes = HEXLOWER.decode(digits.as_bytes()).ok();
    match bytes.and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()) {
        Some(bytes) if bytes != [0; 16] => TraceId::from_bytes(bytes),
        _ => first_16(&digest(&[b"event", event.as_bytes()])),
    }
}

fn span_id(parts: &[&[u8]]) -> SpanId {
    last_8(&digest(parts))
}

fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// The first bit is set, so that it is not 0.
fn first_16(digest: &[u8; 32]) -> TraceId {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[0] |= 0x80;
    TraceId::from_bytes(bytes)
}

/// The first bit is set, so that it is not 0.
fn last_8(digest: &[u8; 32]) -> SpanId {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[24..]);
    bytes[0] |= 0x80;
    SpanId::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_same_everywhere_and_differ_for_what_is_different() {
        let event = "evt_00112233445566778899aabbccddeeff";
        let first = DeliveryIds::of(event, 7, 1);
        assert_eq!(first, DeliveryIds::of(event, 7, 1));
        let header = first.attempt_parent().to_string();
        assert!(
            header.starts_with("00-00112233445566778899aabbccddeeff-"),
            "{header}"
        );
        assert!(header.len() == 55 && header.ends_with("-01"), "{header}");
        let retry = DeliveryIds::of(event, 7, 2);
        assert_eq!(first.delivery_parent(), retry.delivery_parent());
        assert_ne!(first.attempt_parent(), retry.attempt_parent());
        assert_ne!(
            first.delivery_parent(),
            DeliveryIds::of(event, 8, 1).delivery_parent()
        );
        // Ids that are none of ours still have a valid trace.
        for strange in [
            "",
            "evt_",
            "evt_00000000000000000000000000000000",
            "evt_XY",
            "gap",
        ] {
            let ids = DeliveryIds::of(strange, 0, 0);
            assert!(ids.delivery().is_valid() && ids.attempt().is_valid(), "{strange}");
        }
        let day = NaiveDate::from_ymd_opt(2026, 1, 2).unwrap();
        assert!(batch(day, "77").is_valid());
        assert_ne!(batch(day, "77"), batch(day, "78"));
    }
}
