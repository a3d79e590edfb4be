//! `dataMode: reference`: ids, class and time in every format, and nothing personal.

use serde_json::{Map, Value, json};

use super::{FORMATS, faults};
use crate::catalogue::{example_event, format_schema, payload_schema, sample};
use crate::lifecycle::States;
use crate::registry::DataMode;
use orw_model::{Action, Entity, EventClass};

/// Stands for everything that may be personal.
const PERSONAL: &str = "Jan Jansen";

/// The entity with this text at every place that is no id and no reference to a register or schema.
fn personal(entity: &Entity) -> Entity {
    let fields: Map<String, Value> = entity
        .fields()
        .iter()
        .map(|(name, value)| match name.as_str() {
            "id" | "uuid" | "register" | "schema" => (name.clone(), value.clone()),
            _ => (name.clone(), json!({"name": PERSONAL, "deep": [PERSONAL]})),
        })
        .collect();
    Entity::new(fields)
}

#[test]
fn a_reference_has_the_ids_and_nothing_personal() {
    for class in EventClass::all() {
        let mut event = example_event(class);
        event.states = match &event.states {
            States::One(entity) => States::One(personal(entity)),
            States::Both { new, old } => States::Both {
                new: personal(new),
                old: personal(old),
            },
            States::Moved { new, .. } => States::One(personal(new)),
        };
        let fields = event.states.current().fields().clone();
        let stored = event.into();
        for format in FORMATS {
            let rendered = sample(&stored, format, DataMode::Reference).unwrap();
            let body = String::from_utf8(rendered.body).unwrap();
            for hidden in [PERSONAL, "alice", "Alice Adams"] {
                assert!(!body.contains(hidden), "{class} {format:?}: {body}");
            }
            let full = sample(&stored, format, DataMode::Full).unwrap();
            assert!(String::from_utf8(full.body).unwrap().contains(PERSONAL));
            assert_eq!(rendered.content_type, full.content_type);
            let uuid = fields["uuid"].as_str().unwrap();
            assert!(body.contains(uuid), "{class} {format:?}: {body}");
            let name = class.name().replace('\\', "\\\\");
            assert!(body.contains(&name), "{class} {format:?}: {body}");
            assert!(
                body.contains("2024-01-15T10:35:00")
                    || body.contains("1705314900")
                    || format.as_str() == "documented"
            );
            if class.action() == Action::Transitioned {
                // It does not tell what moved, which the schemas of whole events demand.
                continue;
            }
            let body: Value = serde_json::from_str(&body).unwrap();
            for schema in [payload_schema(class, format), format_schema(format)] {
                assert_eq!(faults(&schema, &body), Vec::<String>::new(), "{class} {format:?}");
            }
        }
    }
}
