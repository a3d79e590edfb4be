//! The document of an event: what filters see of it.

use serde_json::{Map, Value};

use crate::delivery::format;
use crate::lifecycle::Event;
use orw_filter::{LIST_KEY, Needs, State, Subject, User};
use orw_model::{Entity, EntityKind, Names, Transition};

/// The parts of the document that show the states.
const PARTS: [&str; 2] = ["event", "data"];
/// The field of an object that its properties are below.
const PROPERTIES: &str = "data";

/// The states of an event in the documented form, as far as filters read them.
#[derive(Debug, Default)]
pub(crate) struct Documented {
    current: Shown,
    old: Option<Shown>,
    transition: Option<Value>,
}

/// One state.
#[derive(Debug, Default)]
struct Shown {
    fields: Map<String, Value>,
    /// Of an object: the references to its register and schema, as they are in the entity.
    references: Map<String, Value>,
}

impl Documented {
    pub(crate) fn of(event: &Event, needs: &Needs) -> Self {
        if !PARTS.iter().any(|part| needs.wants(part)) {
            return Self::default();
        }
        let kind = event.class.kind();
        let old = event.states.old();
        // Which fields filters read of the new state and of the old one.
        let (mut of_current, mut of_old) = (Wanted::NOTHING, Wanted::NOTHING);
        for (name, is_old) in kind.states(false, old.map(|_| true)) {
            let wanted = if is_old { &mut of_old } else { &mut of_current };
            for part in PARTS {
                wanted.add(needs, &format!("{part}.{name}"));
            }
        }
        Self {
            current: Shown::of(kind, event.states.current(), &of_current),
            old: old.map(|old| Shown::of(kind, old, &of_old)),
            transition: event.states.transition().map(Transition::to_value),
        }
    }

    /// The event as filters see it.
    pub(crate) fn subject<'a>(&'a self, event: &'a Event) -> Subject<'a> {
        Subject {
            class: event.class,
            current: self.current.state(),
            old: self.old.as_ref().map(Shown::state),
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

/// What filters read of a state.
struct Wanted<'n> {
    fields: Names<'n>,
    properties: Names<'n>,
}

impl<'n> Wanted<'n> {
    const NOTHING: Self = Self {
        fields: Names::NONE,
        properties: Names::NONE,
    };

    /// Adds what is read of the state at `path`.
    fn add(&mut self, needs: &'n Needs, path: &str) {
        self.fields.join(needs.below(path));
        self.properties.join(needs.below(&format!("{path}.{PROPERTIES}")));
    }
}

impl Shown {
    fn of(kind: EntityKind, entity: &Entity, wanted: &Wanted<'_>) -> Self {
        if wanted.fields.is_empty() {
            return Self::default();
        }
        let references = match kind {
            EntityKind::Object => REFERENCES
                .into_iter()
                .filter(|name| wanted.fields.has(name))
                .collect(),
            _ => Vec::new(),
        };
        Self {
            fields: fields(kind, entity, wanted),
            references: if references.is_empty() {
                Map::new()
            } else {
                entity.pick(&Names::These(references), &Names::NONE)
            },
        }
    }

    fn state(&self) -> State<'_> {
        State {
            fields: &self.fields,
            references: references(&self.references),
        }
    }
}

/// The fields of a state that filters read.
fn fields(kind: EntityKind, entity: &Entity, wanted: &Wanted<'_>) -> Map<String, Value> {
    let mut properties = wanted.properties.clone();
    properties.add(LIST_KEY);
    let some = format::part_of_document(kind, entity, &wanted.fields, &properties);
    let is_list = some
        .get(PROPERTIES)
        .is_some_and(|data| data.get(LIST_KEY).is_some());
    if is_list {
        format::part_of_document(kind, entity, &wanted.fields, &Names::All)
    } else {
        some
    }
}

/// The references of an object.
const REFERENCES: [&str; 2] = ["register", "schema"];

/// References, each with all its names.
fn references(entity: &Map<String, Value>) -> Vec<(&'static str, orw_filter::Value<'_>)> {
    REFERENCES
        .into_iter()
        .filter_map(|name| {
            let reference = entity.get(name)?;
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
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::lifecycle::{ActorState, EventId, Lane, States};
    use orw_filter::{Document, Filter};
    use orw_model::{Action, EventClass, Reference, Schema, TableName, object_entity, parse_row};

    fn event(new: Entity, old: Entity) -> Event {
        Event {
            id: EventId::from_stored("evt_1".to_owned()),
            class: EventClass::object(Action::Updated),
            lane: Lane::object("u"),
            at: chrono::DateTime::UNIX_EPOCH,
            states: States::Both { new, old },
            actor: ActorState::Known(None),
            pid: 1,
        }
    }

    /// Whether an event matches, or why that cannot be said.
    fn evaluated(filter: &Filter, event: &Event) -> Result<bool, String> {
        let states = Documented::of(event, filter.needs());
        let document = Document::of_event(&states.subject(event), filter.needs());
        let document = document.map_err(|error| error.to_string())?;
        filter.matches(&document).map_err(|error| error.to_string())
    }

    /// An object of a magic table and one of the blob table, each with a name for its property `b`, and perhaps one that is called `0`.
    fn entities(name: &str, zero: Option<&str>) -> [Entity; 2] {
        let schema = json!({"id": 4, "uuid": "s-u", "slug": "person", "properties": {
            "0": {}, "b": {"type": "object"}, "firstName": {"type": "string"}}});
        let schema = Schema::from_row(&schema.as_object().unwrap().clone().into()).map(Arc::new);
        let register = Arc::new(Reference {
            id: 2,
            uuid: None,
            slug: Some("people".to_owned()),
        });
        let zero = zero.map_or_else(String::new, |zero| format!(r#""0":{zero},"#));
        let magic = format!(
            r#"{{"_id":7,"_uuid":"u","_locked":{{"user":"ada"}},{zero}"b":{{"a":2,"name":"{name}"}},"first_name":"{name}","_name":"{name}"}}"#
        );
        let blob = format!(
            r#"{{"id":7,"uuid":"u","register":"2","schema":"4","object":{{{zero}"b":{{"a":2,"name":"{name}"}},"firstName":"{name}"}},"name":"{name}"}}"#
        );
        [
            ("oc_openregister_table_2_4", magic),
            ("oc_openregister_objects", blob),
        ]
        .map(|(table, image)| {
            let table = TableName::parse(table, "oc_").unwrap();
            object_entity(
                &table,
                &parse_row(&image).unwrap(),
                Some(&register),
                schema.as_ref(),
            )
        })
    }

    /// A filter finds in what is made for it what it would find in everything.
    #[test]
    fn a_part_is_as_good_as_the_whole() {
        let filters = [
            json!({"event.newObject.data.firstName": "Ada"}),
            json!({"event.oldObject.data.firstName": "Ada"}),
            json!({"event.object.data.b.name": "Ada", "data.newObject.name": "Ada"}),
            json!({"event.object.data.a": 2}),
            json!({"event.object.data.name": "Ada"}),
            json!({"event.object.data": {"$exists": true}}),
            json!({"event.object.data.nothing": {"$exists": false}}),
            json!({"event.object.register": "people", "event.object.schemaUuid": "s-u"}),
            json!({"event.object.lock.user": "ada"}),
            json!({"event.object": {"$exists": true}, "event.class": {"$exists": true}}),
            json!({"data.object.id": 7}),
        ];
        let mut matched = 0;
        for zero in [
            None,
            Some("null"),
            Some("1"),
            Some(r#"{"a":1}"#),
            Some(r#"{"a":2}"#),
        ] {
            let pairs = entities("Ada", zero).into_iter().zip(entities("Bob", zero));
            for (new, old) in pairs {
                for filter in &filters {
                    let parsed = Filter::parse(filter).unwrap();
                    let made = event(new.clone(), old.clone());
                    let of_part = evaluated(&parsed, &made);
                    let whole = |entity: &Entity| Entity::new(entity.fields().clone());
                    let of_whole = evaluated(&parsed, &event(whole(&new), whole(&old)));
                    assert_eq!(of_part, of_whole, "{filter} {zero:?}");
                    matched += usize::from(of_part == Ok(true));
                }
            }
        }
        assert!(matched > 50, "{matched}");
    }
}
