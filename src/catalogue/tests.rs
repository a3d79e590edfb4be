//! The catalogue against the program, the manual and the docs page.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::fields::fields;
use super::{example, markdown, payload_schema};
use crate::openregister::{Action, EntityKind, EventClass};

/// What is wrong with `value` by `schema`: the keywords that the catalogue's schemas use, and no others.
fn faults(schema: &Value, root: &Value, value: &Value, at: &str, out: &mut Vec<String>) {
    for (keyword, rule) in schema.as_object().unwrap() {
        let right = match keyword.as_str() {
            "$schema" | "title" | "description" | "$defs" => true,
            "$ref" => {
                let name = rule.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                faults(&root["$defs"][name], root, value, at, out);
                true
            }
            "const" => rule == value,
            "type" => match rule {
                Value::Array(kinds) => kinds.iter().any(|kind| is(kind, value)),
                kind => is(kind, value),
            },
            "format" => value
                .as_str()
                .is_none_or(|text| chrono::DateTime::parse_from_rfc3339(text).is_ok()),
            "required" => rule
                .as_array()
                .unwrap()
                .iter()
                .all(|name| value.get(name.as_str().unwrap()).is_some()),
            "properties" => {
                for (name, schema) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        faults(schema, root, value, &format!("{at}.{name}"), out);
                    }
                }
                true
            }
            other => panic!("{other} is not known here"),
        };
        if !right {
            out.push(format!("{at}: {keyword}: {value}"));
        }
    }
}

fn is(kind: &Value, value: &Value) -> bool {
    match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other}"),
    }
}

fn assert_valid(class: EventClass, payload: &Value) {
    let schema = payload_schema(class);
    let mut found = Vec::new();
    faults(&schema, &schema, payload, "$", &mut found);
    assert_eq!(found, Vec::<String>::new(), "{class}");
}

#[test]
fn every_example_is_valid_and_has_every_field_of_the_catalogue_and_no_other() {
    for class in EventClass::all() {
        let payload = example(class);
        assert_valid(class, &payload);
        let kind = class.kind();
        let shown: BTreeSet<&str> = payload["data"][kind.name()]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let known = fields(kind);
        let names: BTreeSet<&str> = known.iter().map(|field| field.name).collect();
        assert_eq!(names.len(), known.len(), "{class}: a field is there twice");
        assert!(shown.is_subset(&names), "{class}: {:?}", shown.difference(&names));
        for field in known.iter().filter(|field| !field.optional) {
            assert!(shown.contains(field.name), "{class}: {}", field.name);
        }
    }
}

#[test]
fn a_wrong_payload_is_invalid() {
    let class = EventClass::object(Action::Created);
    let schema = payload_schema(class);
    let wrong = |path: &str, value: Value| {
        let mut payload = example(class);
        *payload.pointer_mut(path).unwrap() = value;
        let mut found = Vec::new();
        faults(&schema, &schema, &payload, "$", &mut found);
        !found.is_empty()
    };
    assert!(wrong(
        "/event",
        json!("OCA\\OpenRegister\\Event\\ObjectUpdatedEvent")
    ));
    assert!(wrong("/data/object/id", json!("123")));
    assert!(wrong("/data/object/data", json!([])));
    assert!(wrong("/data/object/created", json!("15 January")));
    assert!(wrong("/data/object/locked", Value::Null));
    assert!(wrong("/data/object", json!({})));
}

/// Payloads as OpenRegister's manual shows their shape, shortened as there.
#[test]
fn the_manuals_examples_are_valid() {
    let times = json!({"created": "2024-01-15T10:30:00+00:00", "updated": "2024-01-15T10:30:00+00:00"});
    let entity = |fields: Value| {
        let mut all = json!({"id": 1, "uuid": "entity-uuid"});
        for part in [fields, times.clone()] {
            all.as_object_mut()
                .unwrap()
                .extend(part.as_object().unwrap().clone());
        }
        all
    };
    let check = |kind: EntityKind, sample: &Value| {
        for action in [Action::Created, Action::Updated, Action::Deleted] {
            let class = EventClass::new(kind, action).unwrap();
            let data = match action {
                Action::Updated => {
                    let name = kind.class_name();
                    json!({format!("new{name}"): sample, format!("old{name}"): sample})
                }
                _ => json!({kind.name(): sample}),
            };
            assert_valid(class, &json!({"event": class.name(), "data": data}));
        }
    };
    check(
        EntityKind::Object,
        &entity(
            json!({"register": "my-register", "schema": "my-schema", "data": {"title": "Example"},
                       "organisation": "org-uuid", "version": 1}),
        ),
    );
    check(
        EntityKind::Register,
        &entity(json!({"name": "My Register", "description": "x", "schema": "my-schema"})),
    );
    check(
        EntityKind::Schema,
        &entity(json!({"name": "My Schema", "version": "1.0.0", "description": "x", "properties": {}})),
    );
    check(
        EntityKind::Application,
        &entity(json!({"name": "App", "description": "x", "version": "1.0.0", "organisation": "org-uuid"})),
    );
    check(
        EntityKind::Agent,
        &entity(json!({"name": "Agent", "type": "chat", "configuration": {}})),
    );
    check(
        EntityKind::Source,
        &entity(
            json!({"name": "Source", "type": "api", "endpoint": "https://x.example", "configuration": {}}),
        ),
    );
    check(
        EntityKind::Configuration,
        &entity(json!({"type": "import", "name": "Configuration", "configuration": {}})),
    );
    check(
        EntityKind::View,
        &entity(json!({"name": "View", "register": "my-register", "filters": {}, "columns": []})),
    );
    check(
        EntityKind::Conversation,
        &entity(json!({"title": "Conversation", "messages": []})),
    );
    check(
        EntityKind::Organisation,
        &entity(json!({"name": "Organisation", "description": "x"})),
    );
    for (action, object) in [
        (Action::Locked, json!({"id": 123, "uuid": "u", "locked": true})),
        (Action::Unlocked, json!({"id": 123, "uuid": "u", "locked": false})),
        (
            Action::Reverted,
            json!({"id": 123, "uuid": "u", "version": 2, "data": {}}),
        ),
    ] {
        let class = EventClass::object(action);
        assert_valid(class, &json!({"event": class.name(), "data": {"object": object}}));
    }
}

#[test]
fn the_docs_page_is_up_to_date() {
    assert!(
        include_str!("../../docs/events.md") == markdown(),
        "docs/events.md is out of date: cargo run -- events --markdown > docs/events.md"
    );
}
