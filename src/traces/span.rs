//! What is recorded of a batch, a delivery and an attempt, and the spans that become of it.
//!
//! Names of attributes follow OpenTelemetry's semantic conventions where there is one; ours begin with `orw.`.

use std::borrow::Cow;
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::batches::StoredIn;
use super::ids::DeliveryIds;

/// A batch of the reader that stored events.
#[derive(Debug, Clone)]
pub struct Batch {
    /// One of its events.
    pub stored: StoredIn,
    /// When its changes had been read, and when they were committed as events and deliveries.
    pub began: DateTime<Utc>,
    pub ended: DateTime<Utc>,
    pub changes: u64,
    pub events: u64,
    pub deliveries: u64,
}

/// What a delivery is.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub ids: DeliveryIds,
    /// Where its event is stored.
    pub stored: StoredIn,
    pub webhook: i64,
    pub id: i64,
    pub event: String,
    /// The class without its namespace.
    pub class: String,
    pub reason: &'static str,
    /// When the change was made.
    pub changed: DateTime<Utc>,
}

/// One attempt of a delivery.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub delivery: Delivery,
    pub number: u32,
    pub began: DateTime<Utc>,
    pub ended: DateTime<Utc>,
    /// How long the delivery had been due.
    pub waited: std::time::Duration,
    /// Of the answer, if one came.
    pub status: Option<u16>,
    /// Why it failed.
    pub cause: Option<&'static str>,
    /// The delivery ended with this attempt.
    pub end: Option<End>,
}

/// How a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Succeeded,
    GivenUp,
}

/// What is in the queue.
#[derive(Debug, Clone)]
pub(super) enum Record {
    Batch(Batch),
    Attempt(Box<Attempt>),
}

impl Record {
    /// Where to look up the batch.
    pub(super) const fn stored(&self) -> StoredIn {
        match self {
            Self::Batch(batch) => batch.stored,
            Self::Attempt(attempt) => attempt.delivery.stored,
        }
    }

    /// The spans, with the batch's own, if it is known.
    pub(super) fn spans(
        self,
        batch: Option<SpanContext>,
        scope: &InstrumentationScope,
        into: &mut Vec<SpanData>,
    ) {
        match self {
            Self::Batch(record) => into.extend(batch.map(|own| batch_span(&record, own, scope))),
            Self::Attempt(attempt) => {
                into.push(attempt_span(&attempt, batch.clone(), scope));
                if let Some(end) = attempt.end {
                    into.push(delivery_span(&attempt, end, batch, scope));
                }
            }
        }
    }
}

fn batch_span(batch: &Batch, own: SpanContext, scope: &InstrumentationScope) -> SpanData {
    let count = |name, value: u64| KeyValue::new(name, i64::try_from(value).unwrap_or(i64::MAX));
    SpanData {
        attributes: vec![
            count("orw.batch.changes", batch.changes),
            count("orw.batch.events", batch.events),
            count("orw.batch.deliveries", batch.deliveries),
        ],
        ..span(
            "batch",
            own,
            (batch.began, batch.ended),
            SpanKind::Internal,
            scope,
        )
    }
}

fn attempt_span(attempt: &Attempt, batch: Option<SpanContext>, scope: &InstrumentationScope) -> SpanData {
    let delivery = &attempt.delivery;
    let mut attributes = about(delivery);
    attributes.push(KeyValue::new("orw.attempt", i64::from(attempt.number)));
    attributes.push(KeyValue::new(
        "orw.queue_wait_seconds",
        attempt.waited.as_secs_f64(),
    ));
    attributes.extend(
        attempt
            .status
            .map(|status| KeyValue::new("http.response.status_code", i64::from(status))),
    );
    attributes.extend(attempt.cause.map(|cause| KeyValue::new("error.type", cause)));
    SpanData {
        parent_span_id: delivery.ids.delivery().span_id(),
        attributes,
        links: link(batch),
        status: attempt.cause.map_or(Status::Unset, Status::error),
        ..span(
            "attempt",
            delivery.ids.attempt(),
            (attempt.began, attempt.ended),
            SpanKind::Client,
            scope,
        )
    }
}

fn delivery_span(
    attempt: &Attempt,
    end: End,
    batch: Option<SpanContext>,
    scope: &InstrumentationScope,
) -> SpanData {
    let delivery = &attempt.delivery;
    let mut attributes = about(delivery);
    attributes.push(KeyValue::new("orw.attempts", i64::from(attempt.number)));
    attributes.extend(attempt.cause.map(|cause| KeyValue::new("error.type", cause)));
    SpanData {
        attributes,
        links: link(batch),
        status: match end {
            End::Succeeded => Status::Ok,
            End::GivenUp => Status::error("given up"),
        },
        ..span(
            "delivery",
            delivery.ids.delivery(),
            (delivery.changed.min(attempt.began), attempt.ended),
            SpanKind::Producer,
            scope,
        )
    }
}

/// What a delivery and its attempts have in common.
fn about(delivery: &Delivery) -> Vec<KeyValue> {
    vec![
        KeyValue::new("messaging.system", "openregister-webhooks"),
        KeyValue::new("messaging.message.id", delivery.event.clone()),
        KeyValue::new("orw.webhook.id", delivery.webhook),
        KeyValue::new("orw.delivery.id", delivery.id),
        KeyValue::new("orw.event.class", delivery.class.clone()),
        KeyValue::new("orw.reason", delivery.reason),
    ]
}

fn link(batch: Option<SpanContext>) -> SpanLinks {
    let mut links = SpanLinks::default();
    links
        .links
        .extend(batch.map(|batch| Link::new(batch, Vec::new(), 0)));
    links
}

/// A span without attributes, links and parent.
fn span(
    name: &'static str,
    own: SpanContext,
    (began, ended): (DateTime<Utc>, DateTime<Utc>),
    kind: SpanKind,
    scope: &InstrumentationScope,
) -> SpanData {
    SpanData {
        span_context: own,
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: kind,
        name: Cow::Borrowed(name),
        start_time: SystemTime::from(began),
        end_time: SystemTime::from(ended.max(began)),
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: scope.clone(),
    }
}
