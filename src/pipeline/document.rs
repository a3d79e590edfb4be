//! The document of an event: what filters see of it.

use serde_json::{Map, Value};

use crate::delivery::format;
use crate::lifecycle::Event;
use orw_filter::{Needs, State, Subject, User};
use orw_model::{Entity, EntityKind, Transition};

/// The states of an event in the documented form, as far as filters read them.
#[derive(Debug)]
pub(crate) struct Documented {
    current: Map<String, Value>,
    old: Option<Map<String, Value>>,
    transition: Option<Value>,
}

impl Documented {
    pub(crate) fn of(event: &Event, needs: &Needs) -> Self {
        if !needs.wants("event") && !needs.wants("data") {
            return Self {
                current: Map::new(),
                old: None,
                transition: None,
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
            transition: event.states.transition().map(Transition::to_value),
        }
    }

    /// The event as filters see it.
    pub(crate) fn subject<'a>(&'a self, event: &'a Event) -> Subject<'a> {
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
            transition: self.transition.as_ref(),
            user: event.actor.actor().map(|actor| User {
                uid: &actor.uid,
                display_name: actor.shown_name(),
                groups: &actor.groups,
            }),
            at: event.at,
        }
    }
}

/// The references of an object to its register and schema, each with all its names.
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
