//! Which registrations want an event.
//!
//! One document is built for all webhooks of an event, and only as far as their filters look into it. A filter that cannot
//! be evaluated counts as no match, is counted and logged, and never stops the pipeline.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::delivery::format;
use crate::filter::{self, Document, Needs, State, Subject};
use crate::lifecycle::{ActorState, Event};
use crate::openregister::{Entity, EntityKind};
use crate::registry::{Format, Webhook};
use crate::telemetry::Metrics;

/// What a webhook wants of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Match {
    Yes,
    /// It depends on who did it, or its payload says so, and that may still become known.
    OnceTheUserIsKnown,
}

/// The webhooks that want `event`, in their order.
pub(crate) fn matches<'w>(
    event: &Event,
    webhooks: &'w [Arc<Webhook>],
    metrics: &Metrics,
) -> Vec<(&'w Arc<Webhook>, Match)> {
    let mut needs = Needs::default();
    for webhook in webhooks {
        needs.merge(webhook.filter.needs());
    }
    let states = Documented::of(event, &needs);
    let document = Document::of_event(&states.subject(event), &needs);
    webhooks
        .iter()
        .filter_map(|webhook| {
            let filter = &webhook.filter;
            let awaited = matches!(event.actor, ActorState::Awaited { .. });
            if awaited && (filter.needs().user() || webhook.user_id_filter.is_some()) {
                return Some((webhook, Match::OnceTheUserIsKnown));
            }
            if let Some(wanted) = &webhook.user_id_filter
                && event.actor.actor().is_none_or(|actor| actor.uid != *wanted)
            {
                return None;
            }
            let error = match document.as_ref().map(|document| filter.matches(document)) {
                Ok(Ok(true)) if awaited && webhook.format == Format::Nextcloud => {
                    return Some((webhook, Match::OnceTheUserIsKnown));
                }
                Ok(Ok(true)) => return Some((webhook, Match::Yes)),
                Ok(Ok(false)) => return None,
                Ok(Err(error)) => error.to_string(),
                Err(_) if filter.needs().is_empty() => return Some((webhook, Match::Yes)),
                Err(error) => error.to_string(),
            };
            metrics.filter_errors.inc();
            tracing::warn!(webhook = %webhook.id, event = %event.id, %error, "a filter could not be evaluated: no match");
            None
        })
        .collect()
}

/// Whether `webhook` wants `event`, now that nothing more will be known of who did it.
pub(super) fn wants(webhook: &Webhook, event: &Event, metrics: &Metrics) -> bool {
    let settled = Event {
        actor: ActorState::Known(event.actor.actor().cloned()),
        ..event.clone()
    };
    !matches(&settled, &[Arc::new(webhook.clone())], metrics).is_empty()
}

/// The states in the documented form, as far as any filter looks into them.
struct Documented {
    current: Map<String, Value>,
    old: Option<Map<String, Value>>,
}

impl Documented {
    fn of(event: &Event, needs: &Needs) -> Self {
        if !needs.wants("event") && !needs.wants("data") {
            return Self {
                current: Map::new(),
                old: None,
            };
        }
        let kind = event.class.kind();
        let fields = |entity| match format::document(kind, entity) {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        Self {
            current: fields(event.states.current()),
            old: event.states.old().map(fields),
        }
    }

    fn subject<'a>(&'a self, event: &'a Event) -> Subject<'a> {
        let state = |fields, entity| State {
            fields,
            references: references(event.class.kind(), entity),
        };
        Subject {
            class: event.class,
            current: state(&self.current, event.states.current()),
            old: self
                .old
                .as_ref()
                .zip(event.states.old())
                .map(|(fields, old)| state(fields, old)),
            actor: event.actor.actor(),
            at: event.at,
        }
    }
}

/// An object's register and schema, each by any of its names.
fn references(kind: EntityKind, entity: &Entity) -> Vec<(&'static str, filter::Value<'_>)> {
    if kind != EntityKind::Object {
        return Vec::new();
    }
    ["register", "schema"]
        .into_iter()
        .filter_map(|name| {
            let reference = entity.fields().get(name)?;
            let text = |part| reference.get(part).and_then(Value::as_str);
            let names = [text("slug"), text("uuid")].into_iter().flatten();
            Some((
                name,
                filter::Value::alias(names, reference.get("id").and_then(Value::as_i64)),
            ))
        })
        .collect()
}
