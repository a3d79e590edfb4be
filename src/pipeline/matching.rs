//! Which registrations want an event.
//!
//! One document is built for all webhooks of an event, and only as far as their filters look into it. A filter that cannot
//! be evaluated, or only in more time than it may take, counts as no match, is counted and logged, and never stops the
//! pipeline.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::metrics::Metrics;
use crate::delivery::format;
use crate::lifecycle::{ActorState, Event};
use crate::registry::{Format, Snapshot, Webhook};
use orw_filter::{Budget, Document, Needs, State, Subject, TooDeep, User};
use orw_model::{Entity, EntityKind};

/// What a webhook wants of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    Yes,
    /// It depends on who did it, or its payload says so, and that may still become known.
    AwaitUser,
}

/// The webhooks of `registrations` that want `event`, in their order.
#[must_use]
pub fn matches<'r>(
    event: &Event,
    registrations: &'r Snapshot,
    metrics: &Metrics,
) -> Vec<(&'r Arc<Webhook>, Match)> {
    let webhooks = registrations.for_class(event.class);
    if webhooks.is_empty() {
        return Vec::new();
    }
    let needs = registrations.needs(event.class);
    let states = Documented::of(event, needs);
    let document = Document::of_event(&states.subject(event), needs);
    let awaited = matches!(event.actor, ActorState::Awaited { .. });
    let mut budget = Budget::default();
    webhooks
        .iter()
        .filter_map(|webhook| {
            Some((
                webhook,
                wanted(webhook, event, document.as_ref(), awaited, metrics, &mut budget)?,
            ))
        })
        .collect()
}

/// What `webhook` wants of `event`; `None` where it does not want it.
pub(super) fn matches_one(webhook: &Webhook, event: &Event, metrics: &Metrics) -> Option<Match> {
    alone(
        webhook,
        event,
        matches!(event.actor, ActorState::Awaited { .. }),
        metrics,
    )
}

/// Whether `webhook` wants `event`, now that nothing more will be known of who did it.
pub(super) fn wants(webhook: &Webhook, event: &Event, metrics: &Metrics) -> bool {
    alone(webhook, event, false, metrics).is_some()
}

fn alone(webhook: &Webhook, event: &Event, awaited: bool, metrics: &Metrics) -> Option<Match> {
    let needs = webhook.filter.needs();
    let states = Documented::of(event, needs);
    let document = Document::of_event(&states.subject(event), needs);
    let mut budget = Budget::default();
    wanted(webhook, event, document.as_ref(), awaited, metrics, &mut budget)
}

/// What `webhook` wants of `event`; `awaited` says that it may still become known who did it.
fn wanted(
    webhook: &Webhook,
    event: &Event,
    document: Result<&Document<'_>, &TooDeep>,
    awaited: bool,
    metrics: &Metrics,
    budget: &mut Budget,
) -> Option<Match> {
    let filter = &webhook.filter;
    if awaited && filter.needs().user() {
        return Some(Match::AwaitUser);
    }
    if let Some(uid) = &webhook.user_id_filter
        && !awaited
        && event.actor.actor().is_none_or(|actor| actor.uid != *uid)
    {
        return None;
    }
    let error = match document.map(|document| filter.matches_within(document, budget)) {
        Ok(Ok(false)) => return None,
        Ok(Ok(true)) => None,
        Err(_) if filter.needs().is_empty() => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(error) = error {
        metrics.filter_errors.inc();
        let (times, logged) = filter.failed();
        if logged {
            tracing::warn!(
                webhook = %webhook.id,
                event = %event.id,
                times,
                %error,
                "a filter could not be evaluated: no match"
            );
        }
        return None;
    }
    let depends = webhook.user_id_filter.is_some() || webhook.format == Format::Nextcloud;
    Some(if awaited && depends {
        Match::AwaitUser
    } else {
        Match::Yes
    })
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
            user: event.actor.actor().map(|actor| User {
                uid: &actor.uid,
                display_name: actor.shown_name(),
                groups: &actor.groups,
            }),
            at: event.at,
        }
    }
}

/// An object's register and schema, each by any of its names.
fn references(kind: EntityKind, entity: &Entity) -> Vec<(&'static str, orw_filter::Value<'_>)> {
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
                orw_filter::Value::alias(names, reference.get("id").and_then(Value::as_i64)),
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::catalogue::example_event;
    use crate::lifecycle::StoredEvent;
    use orw_filter::Filter;
    use orw_model::{EventClass, object_has_field};

    /// Whether `event` matches a filter, as it is evaluated for one webhook.
    fn holds(event: &Event, filter: &Value) -> bool {
        let filter = Filter::parse(filter).unwrap();
        let states = Documented::of(event, filter.needs());
        let document = Document::of_event(&states.subject(event), filter.needs()).unwrap();
        filter.matches(&document).unwrap()
    }

    #[test]
    fn a_filter_sees_what_the_nextcloud_body_carries() {
        for class in EventClass::all() {
            let event = example_event(class);
            let body = format::sample(&StoredEvent::from(event.clone()), Format::Nextcloud).body;
            let body: Value = serde_json::from_slice(&body).unwrap();
            let states = body["event"].as_object().unwrap();
            assert!(states.contains_key(class.kind().name()), "{class}");
            for (name, value) in states {
                let filter = json!({format!("event.{name}"): {"$e": value}});
                assert!(holds(&event, &filter), "{class}: {filter}");
                if name != "class" {
                    let filter = json!({format!("data.{name}"): {"$e": value}});
                    assert!(holds(&event, &filter), "{class}: {filter}");
                }
            }
            for (path, value) in [
                ("user.uid", &body["user"]["uid"]),
                ("user.displayName", &body["user"]["displayName"]),
                ("time", &body["time"]),
            ] {
                if !value.is_null() {
                    assert!(holds(&event, &json!({path: value})), "{class}: {path}");
                }
            }
            // And nothing else.
            let kind = class.kind();
            for name in [
                kind.name().to_owned(),
                format!("new{}", kind.class_name()),
                format!("old{}", kind.class_name()),
            ] {
                let there = holds(&event, &json!({format!("event.{name}"): {"$exists": true}}));
                assert_eq!(there, states.contains_key(&name), "{class}: {name}");
            }
        }
    }

    #[test]
    fn the_fields_of_objects_are_known() {
        for class in EventClass::all().filter(|class| class.kind() == EntityKind::Object) {
            let data = format::data(&example_event(class));
            let unknown: BTreeSet<_> = data
                .values()
                .filter_map(Value::as_object)
                .flat_map(|fields| fields.keys())
                .filter(|field| !object_has_field(field))
                .collect();
            assert!(unknown.is_empty(), "{class}: {unknown:?}");
        }
    }
}
