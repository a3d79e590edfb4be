//! The document of an event: what filters see of it.

use serde_json::{Map, Value};

use crate::delivery::format;
use crate::lifecycle::Event;
use orw_filter::{Needs, State, Subject, User};
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
            fields: format::part_of_document(kind, entity, &wanted.fields, &wanted.properties),
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
